package checklist

import (
	"errors"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// faultOrUnseen tells a fault that was found from a look that failed.
func faultOrUnseen(looked string, err error) report.Finding {
	if errors.Is(err, step.ErrFault) {
		return fault(looked, strings.TrimPrefix(err.Error(), step.ErrFault.Error()+": "), "")
	}
	return unseen(looked, err, "")
}
