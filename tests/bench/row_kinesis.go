package main

import "context"

// p7 is PutRecords through the Kinesis API, in JSON and in CBOR.
func p7() appending {
	return appending{
		name: "p7", title: "PutRecords of 500 records of 1024 bytes through the Kinesis API, signed", size: recordBytes, shards: func(o *options) string { return o.shards },
	}
}

// kinesisRow is P7. Levada in JSON and in CBOR are two lines; the emulator is given JSON.
func kinesisRow(ctx context.Context, b *bench) error {
	a := p7()
	cbor := levadaSystem()
	cbor.name = "levada-cbor"
	a.others = []contender{{levadaSystem(), kinesisModes(false)}, {cbor, kinesisModes(true)}}
	if b.options.peers && b.options.kinesalite != "" {
		a.others = append(a.others, contender{kinesaliteSystem(b.options.kinesalite), kinesisModes(false)})
	}
	return a.row(ctx, b)
}
