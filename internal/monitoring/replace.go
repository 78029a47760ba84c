package monitoring

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Add is Push that leaves alone what is not told now: a metric whose value
// could not be found out keeps the last known one.
func (t *Told) Add(ctx context.Context, client *http.Client, address, environment string) error {
	return t.pusher(client, address, environment).AddContext(ctx)
}

// Replace puts the metrics of a text into another one, before, each in the
// place of the one of its name. The others stay as they are; a text before
// that cannot be read is left out.
func Replace(before, told []byte) ([]byte, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(before))
	if err != nil {
		return told, nil
	}
	now, err := parser.TextToMetricFamilies(bytes.NewReader(told))
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	maps.Copy(families, now)
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if _, err := expfmt.MetricFamilyToText(&b, families[name]); err != nil {
			return nil, fmt.Errorf("writing metrics: %w", err)
		}
	}
	return b.Bytes(), nil
}
