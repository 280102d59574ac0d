# The targets are what .ci/run runs; each works by itself.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
BUF         := github.com/bufbuild/buf/cmd/buf@v1.75.0
PLUGINS     := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

# Packages whose tests run under the race detector: those with goroutines of their own.
CONCURRENT := ./wal/... ./journal/... ./partition/... ./raftfsm/... ./meta/... ./membership/... ./client/... ./node/... ./internal/vfs/... ./kinesis/... ./cmd/... ./configs/...

FUZZTIME      ?= 20000x
CHAOS_SECONDS ?= 60

.PHONY: all build test clients race fuzz lint mutations guard guard-proof chaos generate licences

all: lint build test

# The binary for this machine, and a check that the other platform compiles.
build:
	go build -trimpath -o bin/levada ./cmd/levada
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/levada
	GOOS=darwin GOARCH=arm64 go vet ./...

test:
	go test ./...

# The clients of other languages that tests/kinesis tries, in build/clients. The tests do it by themselves where it has not been done.
clients:
	tests/kinesis/testdata/setup.sh build/clients

race:
	go test -race -short -timeout 10m $(CONCURRENT)

# Every fuzz function of the module, one after the other.
fuzz:
	.ci/fuzz $(FUZZTIME)

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted; exit 1; fi
	@unformatted=$$(go run $(GOFUMPT) -l .); if [ -n "$$unformatted" ]; then echo "run go run $(GOFUMPT) -w on:" $$unformatted; exit 1; fi
	go vet ./...
	go -C tests/bench vet ./...
	go run $(STATICCHECK) ./...
	@.ci/licences | diff -u THIRD_PARTY_LICENSES - >/dev/null || { echo "THIRD_PARTY_LICENSES is not current: make licences"; exit 1; }

# Break the program on purpose; a named test has to notice each fault.
mutations:
	go run ./tests/mutation

# Benchmarks beside each other: no hot path may cost more, beside another, than the table of tests/guard says.
guard:
	go run ./tests/guard

# Slow the hot paths down on purpose; the guard has to notice each fault.
guard-proof:
	go run ./tests/guard -prove

chaos:
	go test ./tests/chaos -run TestChaos -count=1 -timeout 10m -chaos.seconds=$(CHAOS_SECONDS)

# The Go code beside the .proto files.
generate:
	for plugin in $(PLUGINS); do GOBIN=$(CURDIR)/bin go install $$plugin || exit 1; done
	PATH="$(CURDIR)/bin:$$PATH" go run $(BUF) generate

licences:
	.ci/licences > THIRD_PARTY_LICENSES.new
	mv THIRD_PARTY_LICENSES.new THIRD_PARTY_LICENSES
