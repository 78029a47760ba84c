package checklist

import (
	"context"
	"fmt"
	"path"
)

// A hostFile collects what is written and adds it to a file of the host, a
// piece at a time: what is listed may be larger than the memory.
type hostFile struct {
	ctx  context.Context
	t    *Target
	name string
	buf  []byte
}

const pieceSize = 1 << 20

func (f *hostFile) Write(p []byte) (int, error) {
	f.buf = append(f.buf, p...)
	if len(f.buf) < pieceSize {
		return len(p), nil
	}
	return len(p), f.flush()
}

func (f *hostFile) flush() error {
	err := f.t.Host.Append(f.ctx, f.name, f.buf, 0o600)
	f.buf = f.buf[:0]
	return err
}

// inconsistencyFile is where the rows are listed that an operation has found.
func (t *Target) inconsistencyFile(operation, kind string) string {
	return path.Join(t.opsDir(), "inconsistencies", operation+"."+kind)
}

// writeLater writes a file, mode 0600 in a folder of mode 0700, that gets its
// name when it is complete.
func (t *Target) writeLater(ctx context.Context, name string, write func(*hostFile) error) error {
	partial := name + ".partial"
	if err := t.Host.Mkdir(ctx, path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := t.Host.Remove(ctx, partial); err != nil { // of an interrupted try
		return fmt.Errorf("writing %s: %w", name, err)
	}
	f := &hostFile{ctx: ctx, t: t, name: partial}
	err := write(f)
	if err == nil {
		err = f.flush()
	}
	if err == nil {
		err = t.Host.Rename(ctx, partial, name)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
