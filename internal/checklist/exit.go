package checklist

import (
	"errors"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// ExitCode is the status with which a target ends that failed with err:
//
//	0  done; warnings alone are 0 too
//	1  failed, declined or interrupted; nothing changed or everything undone
//	2  usage or configuration
//	3  a check found a fault, generated files have drifted or alerts fail their tests, or the maintenance window is closed
//	4  failed, and the service needs a person
//	5  somebody else holds the lease
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, lease.ErrLost):
		return 5 // whoever took it over decides
	case errors.Is(err, step.ErrNeedsPerson):
		return 4
	case errors.Is(err, step.ErrNothingToDo), errors.Is(err, ErrNothingToResume):
		return 0
	case errors.Is(err, ErrTakenBack):
		return 1
	case errors.Is(err, lease.ErrHeld):
		return 5
	case errors.Is(err, step.ErrInterrupted):
		return 1
	case errors.Is(err, ErrUsage), errors.Is(err, config.ErrInvalid), errors.Is(err, monitoring.ErrToolMissing):
		return 2
	case errors.Is(err, step.ErrFault), errors.Is(err, monitoring.ErrDrift), errors.Is(err, monitoring.ErrAlertsFaulty):
		return 3
	}
	return 1
}

// ErrTakenBack is in the error of an operation that had changed the service
// and took everything back.
var ErrTakenBack = errors.New("the service was taken back to where it was")
