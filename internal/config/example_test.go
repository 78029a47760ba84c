package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func setProduction(t testing.TB) {
	t.Setenv("ETF_PRODUCTION_DATABASE_URL", "postgresql://etf_owner:correct-horse@db:5432/goldfinch")
	t.Setenv("ETF_PRODUCTION_REDIS_URL", "redis://:correct-horse@cache:6379/0")
	t.Setenv("ETF_PRODUCTION_BROKER_URL", "amqp://etf:correct-horse@broker:5672//")
}

// The commented example loads, says what the plan says, and holds every key
// that there is, each under a comment of its own.
func TestProductionExample(t *testing.T) {
	setProduction(t)
	c, err := Load("../../deploy.yaml", "production")
	if err != nil {
		t.Fatal(err)
	}
	w := Window{Preferred: Span{TimeOfDay(2 * time.Hour), TimeOfDay(4 * time.Hour)},
		Fallback: Span{TimeOfDay(14 * time.Hour), TimeOfDay(16 * time.Hour)},
		Maximum:  2 * time.Hour, CutOver: 15 * time.Minute, Enforce: true}
	if c.Window != w || !c.Confirm {
		t.Errorf("window = %+v, confirm = %v", c.Window, c.Confirm)
	}
	if c.Thresholds.PriceJump != 0.25 || c.Thresholds.PriceCorrection != 0.02 {
		t.Errorf("thresholds = %+v", c.Thresholds)
	}
	for i, role := range []string{"DevOps Team Lead", "Backend Team Lead", "CTO"} {
		if got := c.Contacts.All()[i]; got.Role != role {
			t.Errorf("%s contact is %q, the plan says %q", got.Level, got.Role, role)
		}
	}

	data, err := os.ReadFile("../../deploy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	production := key(key(doc.Content[0], "environments"), "production")
	if production == nil {
		t.Fatal("deploy.yaml holds no production")
	}
	lines := strings.Split(string(data), "\n")
	everyKey(t, production, reflect.TypeFor[Config](), "production", lines)
}

// A section needs no comment where each of its keys has one; the second and
// third contact repeat the keys of the first.
var explainedElsewhere = regexp.MustCompile(`^production\.contacts\.(secondary|escalation)\.`)

func everyKey(t *testing.T, n *yaml.Node, of reflect.Type, path string, lines []string) {
	for i := range of.NumField() {
		field := of.Field(i)
		name := field.Tag.Get("yaml")
		if name == "-" {
			continue
		}
		at := path + "." + name
		value := key(n, name)
		if value == nil {
			t.Errorf("%s does not stand in the example", at)
			continue
		}
		if field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Span]() {
			everyKey(t, value, field.Type, at, lines)
			continue
		}
		line := keyLine(n, name)
		if !strings.HasPrefix(strings.TrimSpace(lines[line-2]), "#") && !explainedElsewhere.MatchString(at) {
			t.Errorf("%s (line %d) has no comment above it", at, line)
		}
	}
}

func key(n *yaml.Node, name string) *yaml.Node {
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func keyLine(n *yaml.Node, name string) int {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i].Line
		}
	}
	return 0
}
