package record

// Builder encodes records into a batch. It is not safe for concurrent use.
type Builder struct {
	buf      []byte // room for the header, then the records so far; nil after Finish
	count    int
	capacity int
}

// NewBuilder returns a builder whose first allocation has room for capacity bytes.
func NewBuilder(capacity int) *Builder {
	return &Builder{capacity: min(max(capacity, HeaderSize), MaxBatchBytes)}
}

// Add encodes one record and keeps no reference to it. It returns an
// *InvalidError for a record that no batch can hold and ErrFull if only this
// batch cannot; the builder is then unchanged.
func (b *Builder) Add(r Record) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if b.count >= MaxRecords || b.Len()+r.Size() > MaxBatchBytes {
		return ErrFull
	}
	if b.buf == nil {
		b.buf = make([]byte, HeaderSize, max(b.capacity, HeaderSize+r.Size()))
	}
	b.buf = appendRecord(b.buf, r)
	b.count++
	return nil
}

// Len returns the length in bytes that the batch has so far, header included.
func (b *Builder) Len() int { return max(len(b.buf), HeaderSize) }

// Count returns the number of records so far.
func (b *Builder) Count() int { return b.count }

// Finish returns the batch, which owns its bytes from then on, and empties the
// builder. It returns nil if there are no records. first is the producer's
// sequence number of the first record, at least 1; it is ignored without a producer.
func (b *Builder) Finish(p ProducerID, first uint64, pinned bool) Batch {
	if b.count == 0 {
		return nil
	}
	batch := finish(b.buf, p, first, pinned, b.count)
	b.buf, b.count = nil, 0
	return batch
}

// Reset drops the records so far and keeps the memory.
func (b *Builder) Reset() {
	b.count = 0
	if b.buf != nil {
		b.buf = b.buf[:HeaderSize]
	}
}
