package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// identities asks the servers that .env and deploy.yaml name whether they are
// the same: two addresses may be written differently, and one may be a tunnel.
func (e *envLook) identities(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*e.t.Config.Timeouts.Connect)
	defer cancel()
	var wg sync.WaitGroup
	for key, ask := range map[string]func(ctx context.Context, key, value string){
		"DATABASE_URL": e.sameDatabase, "REDIS_URL": e.sameCache, "CELERY_BROKER_URL": e.sameBroker,
	} {
		if value := e.values[key]; value != "" && !e.wrong(key) {
			wg.Go(func() { ask(ctx, key, value) })
		}
	}
	wg.Wait()
}

// other says that both answer and are not the same.
func (e *envLook) other(key, mine, what string) {
	e.add(key, report.Fault, "names another "+what+" than "+mine+" of "+e.t.Config.File, "let both name the same one")
}

// alone says that the server of .env does not let us in: where that of
// deploy.yaml does, the fault is in .env.
func (e *envLook) alone(key, mine string, err, mineErr error, lets ...error) {
	told := slices.ContainsFunc(lets, func(kind error) bool { return errors.Is(err, kind) })
	switch {
	case err != nil && (mineErr == nil || told):
		e.add(key, report.Fault, "does not lead to a server that lets the service in: "+err.Error(), "compare it with "+mine+" of "+e.t.Config.File)
	case err != nil:
		e.add(key, report.Unknown, "could not be compared with "+mine+": "+err.Error(), "see pre:connections")
	default:
		e.add(key, report.Unknown, "could not be compared with "+mine+": "+mineErr.Error(), "see pre:connections")
	}
}

func (e *envLook) sameDatabase(ctx context.Context, key, value string) {
	const mine = "database.url"
	theirs, err := postgres.ParseURL(value)
	if err != nil {
		e.add(key, report.Fault, "is no address of a PostgreSQL database", "write it as postgresql+DRIVER://USER:PASSWORD@HOST:PORT/DATABASE")
		return
	}
	ours, err := e.t.databaseURL()
	if err != nil {
		e.add(key, report.Unknown, "could not be compared with "+mine+": "+err.Error(), "see pre:connections")
		return
	}
	switch role := e.t.Config.Database.Role; {
	case theirs.User == ours.User:
		e.add(key, report.Fault, "logs in as "+ours.User+", the role that owns the tables", "let the service have a role of its own")
	case role != "" && theirs.User != role:
		e.add(key, report.Fault, fmt.Sprintf("logs in as %s, database.role of %s is %s", theirs.User, e.t.Config.File, role), "let both name the same role")
	}
	var ids [2]string
	var errs [2]error
	var wg sync.WaitGroup
	for i, u := range []postgres.URL{theirs, ours} {
		wg.Go(func() { ids[i], errs[i] = e.databaseIdentity(ctx, u) })
	}
	wg.Wait()
	switch {
	case errs[0] != nil || errs[1] != nil:
		if errors.Is(errs[0], postgres.ErrFull) || errors.Is(errs[0], postgres.ErrNotAccepting) {
			errs[1] = errs[0] // it says nothing about the address
		}
		e.alone(key, mine, errs[0], errs[1], postgres.ErrLogin, postgres.ErrNoDatabase)
	case ids[0] != ids[1]:
		e.other(key, mine, "database")
	}
}

func (e *envLook) databaseIdentity(ctx context.Context, u postgres.URL) (string, error) {
	conn, err := postgres.Connect(ctx, e.t.Host, u, "etf-deploy")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.Identity(ctx, conn)
}

func (e *envLook) sameCache(ctx context.Context, key, value string) {
	e.sameRedis(ctx, key, value, "cache.url", e.t.Config.Cache.URL)
}

// sameRedis compares server and database.
func (e *envLook) sameRedis(ctx context.Context, key, theirs, mine, ours string) {
	type identity struct {
		server   string
		database int
	}
	var ids [2]identity
	var errs [2]error
	var wg sync.WaitGroup
	for i, address := range []string{theirs, ours} {
		wg.Go(func() {
			c, err := cache.New(e.t.Host, plainRedis(address), cache.Options{})
			if errs[i] = err; err != nil {
				return
			}
			defer c.Close()
			ids[i].server, ids[i].database, errs[i] = c.Identity(ctx)
		})
	}
	wg.Wait()
	switch {
	case errs[0] != nil || errs[1] != nil:
		e.alone(key, mine, errs[0], errs[1], cache.ErrLogin, cache.ErrNoDatabase)
	case ids[0].server != ids[1].server:
		e.other(key, mine, "Redis server")
	case ids[0].database != ids[1].database:
		e.add(key, report.Fault, fmt.Sprintf("names database %d, %s of %s names %d", ids[0].database, mine, e.t.Config.File, ids[1].database), "let both name the same one")
	}
}

// plainRedis leaves out the parameters that only Python's clients know.
func plainRedis(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	db := u.Query().Get("db")
	u.RawQuery = ""
	if db != "" {
		u.RawQuery = url.Values{"db": {db}}.Encode()
	}
	return u.String()
}

func (e *envLook) sameBroker(ctx context.Context, key, value string) {
	const mine = "broker_url"
	kind := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			return ""
		}
		return map[string]string{"amqp": "amqp", "amqps": "amqp", "pyamqp": "amqp", "redis": "redis", "rediss": "redis"}[u.Scheme]
	}
	ours := e.t.Config.BrokerURL
	switch k := kind(value); {
	case k == "":
		e.add(key, report.Fault, "is no address of a broker", "write it as amqp://USER:PASSWORD@HOST:PORT/VHOST or redis://:PASSWORD@HOST:PORT/DB")
	case k != kind(ours):
		e.other(key, mine, "kind of broker")
	case k == "redis":
		e.sameRedis(ctx, key, value, mine, ours)
	default:
		same, oursErr, err := celery.SameVirtualHost(ctx, e.t.Host, ours, value)
		switch {
		case err != nil || oursErr != nil:
			e.alone(key, mine, err, oursErr, celery.ErrLogin)
		case !same:
			e.other(key, mine, "broker or virtual host")
		}
	}
}
