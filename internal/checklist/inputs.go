package checklist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// inputs is what the steps of an operation work from. Its digest is in the
// journal with each step: whoever goes on with an operation can see whether a
// step was done from the same configuration, for the same release and over the
// same one before.
type inputs struct{ t *Target }

// Digest covers the configuration without its secrets, the release to come
// without its state, which changes on the way, and the release before.
func (i inputs) Digest(_ context.Context, r *step.Run) (string, error) {
	config, err := json.Marshal(i.t.Config)
	if err != nil {
		return "", err
	}
	var rel release.Release
	if _, err := r.Fact(factRelease, &rel); err != nil {
		return "", err
	}
	before, err := previous(r.Operation)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s %s\n%s", r.Step(), host.Redact(string(config)), rel.ID, rel.Commit, before))
	return hex.EncodeToString(sum[:]), nil
}
