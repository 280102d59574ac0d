package configs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Validate checks every setting and the rules between them. All faults are
// reported together, one per line, each naming the key and its limit.
func (c Config) Validate() error {
	var faults []error
	for _, k := range keyTable {
		if err := k.check(field(&c, k.Path)); err != nil {
			faults = append(faults, err)
		}
	}
	faults = append(faults, c.checkNames()...)
	faults = append(faults, c.checkAddresses()...)
	faults = append(faults, c.checkKinesis()...)
	faults = append(faults, c.checkTLS()...)
	faults = append(faults, c.checkOrder()...)
	return errors.Join(faults...)
}

// check holds one value against the limits of its row.
func (k Key) check(v reflect.Value) error {
	if len(k.OneOf) > 0 {
		values, list := v.Interface().([]string)
		if !list {
			values = []string{v.String()}
		}
		for _, value := range values {
			if !slices.Contains(k.OneOf, value) {
				return fmt.Errorf("%s: %q is not one of %s", k.Path, value, strings.Join(k.OneOf, ", "))
			}
		}
		return nil
	}
	if k.Min == 0 && k.Max == 0 {
		return nil
	}
	if n := v.Int(); n < k.Min || n > k.Max {
		return fmt.Errorf("%s: %s is outside its limits, %s to %s", k.Path, k.show(v, n), k.show(v, k.Min), k.show(v, k.Max))
	}
	return nil
}

// show writes a number in the unit of the value it bounds.
func (k Key) show(v reflect.Value, n int64) string {
	switch v.Interface().(type) {
	case ByteSize:
		return ByteSize(n).String()
	case Duration:
		return Duration(n).String()
	}
	return strconv.FormatInt(n, 10)
}

// nameBytesMax bounds names that travel in gossip, whose messages are small.
const nameBytesMax = 128

func (c Config) checkNames() []error {
	var faults []error
	for _, n := range []struct{ path, text string }{
		{"cluster.name", c.Cluster.Name},
		{"node.name", c.Node.Name},
		{"node.zone", c.Node.Zone},
		{"node.disk_class", c.Node.DiskClass},
	} {
		if len(n.text) > nameBytesMax || strings.ContainsFunc(n.text, notInName) {
			faults = append(faults, fmt.Errorf("%s: %q must be at most %d letters, digits, '-', '_' and '.'", n.path, n.text, nameBytesMax))
		}
	}
	if c.Cluster.Name == "" {
		faults = append(faults, errors.New("cluster.name: must not be empty"))
	}
	if c.Node.DataDir == "" {
		faults = append(faults, errors.New("node.data_dir: must not be empty"))
	}
	if len(c.Node.Roles) == 0 {
		faults = append(faults, errors.New("node.roles: must name at least one role"))
	}
	size := 0
	for name, value := range c.Node.Labels {
		size += len(name) + len(value)
	}
	if size > nameBytesMax {
		faults = append(faults, fmt.Errorf("node.labels: names and values take %d bytes, the limit is %d", size, nameBytesMax))
	}
	if _, err := c.Cluster.GossipKey(); err != nil {
		faults = append(faults, err)
	}
	return faults
}

func notInName(r rune) bool { return notPlain(r) && !strings.ContainsRune("-_.", r) }

// notPlain reports whether r is neither a letter nor a digit of ASCII.
func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

// GossipKey decodes secret_key: 16, 24 or 32 bytes, or nil if gossip is plain.
func (c Cluster) GossipKey() ([]byte, error) {
	if c.SecretKey == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(c.SecretKey.Reveal())
	if err != nil || (len(key) != 16 && len(key) != 24 && len(key) != 32) {
		return nil, errors.New("cluster.secret_key: must be 16, 24 or 32 bytes in base64 (openssl rand -base64 32)")
	}
	return key, nil
}

func (c Config) checkAddresses() []error {
	var faults []error
	check := func(path, address string, hostNeeded bool) {
		if err := checkAddress(address, hostNeeded); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
		}
	}
	seen := map[string]string{}
	for _, k := range keyTable {
		address, isText := field(&c, k.Path).Interface().(string)
		switch {
		case !isText, k.Path == kinesisListen && address == "":
		case strings.HasPrefix(k.Path, "listen."), k.Path == kinesisListen:
			check(k.Path, address, false)
			if other, taken := seen[address]; taken && !strings.HasSuffix(address, ":0") {
				faults = append(faults, fmt.Errorf("%s: %s is the address of %s already", k.Path, address, other))
			}
			seen[address] = k.Path
		case strings.HasPrefix(k.Path, "advertise.") && address != "":
			check(k.Path, address, true)
		}
	}
	for _, seed := range c.Seeds {
		check("seeds", seed, true)
	}
	return faults
}

func checkAddress(address string, hostNeeded bool) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q must be host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has a port outside 0 to 65535", address)
	}
	if hostNeeded && unspecified(host) {
		return fmt.Errorf("%q must name a host that others can reach", address)
	}
	return nil
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// kinesisListen is the one address that may be empty.
const kinesisListen = "kinesis.listen"

// isAccount reports whether a text can be the number of an account.
func isAccount(text string) bool { return len(text) == 12 && strings.Trim(text, "0123456789") == "" }

func (c Config) checkKinesis() []error {
	var faults []error
	if id := c.Kinesis.AccountID; !isAccount(id) {
		faults = append(faults, fmt.Errorf("kinesis.account_id: %q must be twelve digits", id))
	}
	if region := c.Kinesis.Region; region == "" || len(region) > nameBytesMax || strings.ContainsFunc(region, notInName) {
		faults = append(faults, fmt.Errorf("kinesis.region: %q must be at most %d letters, digits, '-', '_' and '.', and not empty", region, nameBytesMax))
	}
	return faults
}

func (c Config) checkTLS() []error {
	var faults []error
	if c.TLS.Enabled() {
		for _, f := range []struct{ path, file string }{{"tls.cert", c.TLS.Cert}, {"tls.key", c.TLS.Key}} {
			if f.file == "" {
				faults = append(faults, fmt.Errorf("%s: must be set when TLS is on", f.path))
			}
		}
		if c.TLS.CA == "" && (c.TLS.Raft || c.TLS.ClientAuth != "none") {
			faults = append(faults, errors.New("tls.ca: must be set for tls.raft and for tls.client_auth"))
		}
	}
	return faults
}

// checkOrder holds the rules between two settings.
func (c Config) checkOrder() []error {
	var faults []error
	rule := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	rule(c.Raft.Election >= c.Raft.Heartbeat, "raft.election: %s is below raft.heartbeat, %s", c.Raft.Election, c.Raft.Heartbeat)
	rule(c.Raft.LeaderLease <= c.Raft.Heartbeat, "raft.leader_lease: %s is above raft.heartbeat, %s", c.Raft.LeaderLease, c.Raft.Heartbeat)
	rule(c.Storage.JournalBytesMax >= 4*c.Storage.JournalSegmentBytes,
		"storage.journal_bytes_max: %s is below four segments of storage.journal_segment_bytes, %s", c.Storage.JournalBytesMax, c.Storage.JournalSegmentBytes)
	rule(c.Limits.AppendBytesInFlightMax >= c.Limits.AppendBytesInFlightMaxPerShard,
		"limits.append_bytes_in_flight_max: %s is below limits.append_bytes_in_flight_max_per_shard, %s", c.Limits.AppendBytesInFlightMax, c.Limits.AppendBytesInFlightMaxPerShard)
	return faults
}

// Warnings returns what is allowed but probably not meant, one sentence each.
func (c Config) Warnings() []string {
	var warnings []string
	ports := []struct {
		path, address string
		protected     bool
		remedy        string
	}{
		{"listen.grpc", c.Listen.GRPC, c.TLS.GRPC, "set tls.grpc"},
		{"listen.raft", c.Listen.Raft, c.TLS.Raft, "set tls.raft"},
		{"listen.gossip", c.Listen.Gossip, c.Cluster.SecretKey != "", "set cluster.secret_key"},
		{"listen.http", c.Listen.HTTP, c.TLS.HTTP, "set tls.http"},
		{kinesisListen, c.Kinesis.Listen, c.TLS.Kinesis || c.Kinesis.Listen == "", "set tls.kinesis"},
	}
	for _, p := range ports {
		if !p.protected && !loopback(p.address) {
			warnings = append(warnings, fmt.Sprintf("%s: %s can be reached from other machines unencrypted; %s", p.path, p.address, p.remedy))
		}
	}
	if c.TLS.ClientAuth != "none" && !c.TLS.GRPC {
		warnings = append(warnings, fmt.Sprintf("tls.client_auth: %s has no effect on the native API without TLS: it takes every client; set tls.grpc", c.TLS.ClientAuth))
	}
	if c.Kinesis.Anonymous && c.Kinesis.Listen != "" && !loopback(c.Kinesis.Listen) {
		warnings = append(warnings, fmt.Sprintf("kinesis.anonymous: everybody who reaches %s can read, write and delete every stream; switch it off and give out keys instead (levada key create, kinesis.keys_file)", c.Kinesis.Listen))
	}
	if c.Cluster.ExpectNodes > 1 && len(c.Seeds) == 0 {
		warnings = append(warnings, fmt.Sprintf("seeds: empty, so this node waits for the other %d of cluster.expect_nodes to name it", c.Cluster.ExpectNodes-1))
	}
	return warnings
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NodeName returns node.name, or the machine's host name if that is empty.
func (c Config) NodeName() (string, error) {
	if c.Node.Name != "" {
		return c.Node.Name, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("node.name is empty and the host has no name: %w", err)
	}
	return name, nil
}

// AdvertiseAddress returns what to tell others for a port: the advertised
// address if one is set, with the port actually bound where it says 0; else the
// bound address; else, where that has no host, the first network interface's.
func AdvertiseAddress(advertise string, bound net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("address %s: %w", bound, err)
	}
	if advertise != "" {
		toldHost, toldPort, err := net.SplitHostPort(advertise)
		if err != nil {
			return "", fmt.Errorf("address %s: %w", advertise, err)
		}
		if toldPort == "0" {
			toldPort = port
		}
		return net.JoinHostPort(toldHost, toldPort), nil
	}
	if !unspecified(host) {
		return bound.String(), nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find an address to advertise: %w", err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsGlobalUnicast() {
			return net.JoinHostPort(network.IP.String(), port), nil
		}
	}
	return net.JoinHostPort("127.0.0.1", port), nil
}
