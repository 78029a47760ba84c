package checklist

import (
	"context"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// soundRecords refuses, before an operation changes anything, when something
// is wrong with the release list, the folders or `current` that operations
// rely on; the error names all of it. What is only worth a line in the log is
// in warnings.
func (t *Target) soundRecords(ctx context.Context) (warnings []string, err error) {
	found, err := t.Releases.Inspect(ctx)
	var faults []string
	for _, d := range found {
		if d.Blocks {
			faults = append(faults, d.Text)
		} else {
			warnings = append(warnings, d.Text)
		}
	}
	if err != nil {
		return warnings, fmt.Errorf("looking whether the records of the releases are sound: %w", err)
	}
	if len(faults) > 0 {
		return warnings, fmt.Errorf("%w: the records of the releases are not sound, nothing was changed: %s", step.ErrFault, strings.Join(faults, "; "))
	}
	return warnings, nil
}
