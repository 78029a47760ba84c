package celery_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// Two addresses of one broker are the same however they are written, those of
// two brokers are not.
func TestSameVirtualHost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	other, err := testserver.StartRabbitMQ(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop()
	ours := rabbit.URL()
	for _, test := range []struct {
		name, address string
		same          bool
		want          error
	}{
		{"itself", ours, true, nil},
		{"by name", strings.Replace(ours, "127.0.0.1", "localhost", 1), true, nil},
		{"by kombu's scheme, the virtual host encoded", strings.TrimSuffix("py"+ours, "/") + "%2F", true, nil},
		{"another broker", other.URL(), false, nil},
		{"no such virtual host", strings.TrimSuffix(ours, "/") + "other", false, celery.ErrLogin},
		{"wrong password", strings.Replace(ours, rabbit.Password, "wrong-pass-word", 1), false, celery.ErrLogin},
	} {
		same, oursErr, err := celery.SameVirtualHost(ctx, host.Local{}, ours, test.address)
		if same != test.same || oursErr != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %t, %v, %v", test.name, same, oursErr, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong-pass-word") {
			t.Errorf("it shows the password: %v", err)
		}
	}
}
