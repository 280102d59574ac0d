package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// endpointEnv is read where --endpoint is not given.
const endpointEnv = "LEVADA_ENDPOINT"

// named returns the nodes that --endpoint or its variable names, none if there
// is neither. Lists are checked here because the client tries every address
// again and again, a misspelt one too.
func (t target) named(s *session) ([]string, error) {
	variable, isSet := s.lookup(endpointEnv)
	var all []string
	for _, list := range t.Endpoint {
		source := "--endpoint"
		if isSet && list == variable {
			source = endpointEnv
			if list == "" {
				continue // set to nothing, as shells unset
			}
		}
		for address := range strings.SplitSeq(list, ",") {
			address = strings.TrimSpace(address)
			if err := checkEndpoint(address); err != nil {
				return nil, usagef("%s %q: %w", source, list, err)
			}
			all = append(all, address)
		}
	}
	return all, nil
}

func checkEndpoint(address string) error {
	if address == "" {
		return errors.New("an address is empty; write host:port, several separated by commas")
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q must be host:port, for example %s", address, defaultEndpoint)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q has port %q, it must be 1 to 65535", address, port)
	}
	return nil
}
