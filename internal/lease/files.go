package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

const (
	prefix = "lease."
	// The ground is the file number 0, made when the folder holds no lease:
	// released from the beginning, with the time as its token, so that tokens
	// still grow when the folder was lost. It stays: whoever begins without
	// a lease begins from the same token.
	ground = 0
)

func read(ctx context.Context, h host.Host, dir string, number int64) (*Holder, error) {
	file := path.Join(dir, prefix+strconv.FormatInt(number, 10))
	b, err := h.ReadFile(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("reading the lease: %w", err)
	}
	// The version first: what else a newer format changed cannot be known.
	var format struct {
		V int `json:"v"`
	}
	var holder Holder
	err = json.Unmarshal(b, &format)
	if err == nil && format.V > Version {
		return nil, fmt.Errorf("reading the lease: %s has format %d, this program knows up to %d: use the newer program that wrote it", file, format.V, Version)
	}
	if err == nil {
		err = json.Unmarshal(b, &holder)
	}
	if err != nil || holder.V < 1 || number != ground && holder.Token != number {
		return nil, fmt.Errorf("reading the lease: %s is damaged: look who works on this target, then remove the file", file)
	}
	return &holder, nil
}

// tokens lists the numbers of the lease files, ascending.
func tokens(ctx context.Context, h host.Host, dir string) ([]int64, error) {
	names, err := h.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the lease: %w", err)
	}
	var all []int64
	for _, name := range names {
		number, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if t, err := strconv.ParseInt(number, 10, 64); err == nil {
			all = append(all, t)
		}
	}
	slices.Sort(all)
	return all, nil
}
