package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// workerNodes are the names by which the service's workers answer, as its
// bin/etf-run gives them.
var workerNodes = []string{"worker0@etf", "worker1@etf"}

// revive starts the deployed service's programs again and waits until they
// serve, since whatever comes next will ask them. One that does not is the
// release's fault, not the stack's: it is shown, and the sandbox is up.
func (s *Sandbox) revive(ctx context.Context) error {
	if !s.st.Revive {
		return nil
	}
	if s.deployed() {
		done := s.out.begin("service")
		client, result := s.supervisorClient(), "started"
		for _, name := range programs {
			if err := client.StartGroup(ctx, name, true); err != nil {
				if ctx.Err() != nil {
					done("")
					return ctx.Err()
				}
				s.out.note("%-14s the deployed release does not start: %v", name, err)
				result = "faulty"
			}
		}
		if result != "faulty" {
			if err := s.awaitService(ctx); err != nil {
				s.out.note("service        the deployed release does not answer: %v", err)
				result = "faulty"
			}
		}
		done(result)
	}
	s.st.Revive = false
	return s.saveState()
}

// awaitService waits until every worker answers a ping and the API a request.
func (s *Sandbox) awaitService(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.serviceLimit)
	defer cancel()
	control, err := celery.New(host.Local{}, celery.Options{BrokerURL: s.brokerURL()})
	if err != nil {
		return err
	}
	defer control.Close()
	for {
		asking, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := control.Ping(asking, workerNodes)
		stop()
		if err == nil {
			err = s.askAPI(ctx)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *Sandbox) askAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.httpURL(portAPI)+"/api/v1/etf/health", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", res.Status)
	}
	return nil
}
