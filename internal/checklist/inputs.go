package checklist

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// inputs is what the steps of an operation work from. Its digest is in the
// journal with each step: whoever goes on with an operation sees whether a
// step was done from the same configuration, for the same release and over the
// same one before.
type inputs struct{ t *Target }

// Digest names the configuration without its secrets, the release to come
// without its state, which changes on the way, and the release before.
func (i inputs) Digest(_ context.Context, r *step.Run) (string, error) {
	config, err := i.t.configKeys()
	if err != nil {
		return "", err
	}
	var rel release.Release
	if _, err := r.Fact(factRelease, &rel); err != nil {
		return "", err
	}
	var before string
	if _, err := r.Fact(factPrevious, &before); err != nil {
		return "", err
	}
	return fmt.Sprintf("config=%s release=%s before=%s", digest(fmt.Sprint(config)), rel.ID, before), nil
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// factConfig is the configuration that an operation was last worked on with:
// map of each key to the digest of its value.
const factConfig = "config"

// configKeys gives each key of the environment's configuration the digest of
// its value, secrets aside.
func (t *Target) configKeys() (map[string]string, error) {
	text, err := yaml.Marshal(t.Config)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	keys := map[string]string{}
	leaves(tree, "", keys)
	return keys, nil
}

func leaves(node any, key string, into map[string]string) {
	if m, ok := node.(map[string]any); ok {
		for name, value := range m {
			leaves(value, strings.TrimPrefix(key+"."+name, "."), into)
		}
		return
	}
	into[key] = digest(host.Redact(fmt.Sprint(node)))
}

// sameInputs refuses to go on with steps that were done from other inputs than
// there are now, and says which.
func (t *Target) sameInputs(ctx context.Context, op *step.Operation, agenda Agenda) error {
	changes, err := op.Changed(ctx, agenda.Steps)
	if err != nil || len(changes) == 0 {
		return err
	}
	var steps []string
	for _, c := range changes {
		steps = append(steps, c.Step)
	}
	what := "its release or the one before"
	if was, is := fieldsOf(changes[0].Was), fieldsOf(changes[0].Is); was["config"] != is["config"] {
		what = t.changedKeys(op)
	} else if was["env"] != is["env"] {
		what = t.Config.Env.File
	}
	otherwise := "`resume -undo` takes back what was done"
	if agenda.Onward != nil {
		otherwise = "begin anew: " + agenda.Onward.ways
	}
	return fmt.Errorf("%w: %s: its steps %s were done, and since then %s has changed: put that back and `resume`, or %s",
		ErrUsage, op.ID(), join(steps), what, otherwise)
}

// changedKeys names the keys of deploy.yaml that differ from those which the
// operation was worked on with.
func (t *Target) changedKeys(op *step.Operation) string {
	now, err := t.configKeys()
	var was map[string]string
	ok, factErr := op.Fact(factConfig, &was)
	if err != nil || factErr != nil || !ok {
		return t.Config.File
	}
	all := maps.Clone(was)
	maps.Copy(all, now)
	var changed []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if was[key] != now[key] {
			changed = append(changed, key)
		}
	}
	return join(changed) + " in " + t.Config.File
}

// fieldsOf splits a digest into its parts.
func fieldsOf(digest string) map[string]string {
	parts := map[string]string{}
	for _, field := range strings.Fields(digest) {
		name, value, _ := strings.Cut(field, "=")
		parts[name] = value
	}
	return parts
}
