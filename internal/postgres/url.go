// Package postgres is everything that the suite does with the database:
// connect, fence, dump, prove a dump, restore it beside the live database and
// swap the two.
package postgres

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A URL is the address of one database with the role that logs in.
type URL struct {
	User     string
	Password string
	Host     string // name, address, or folder of a unix socket
	Port     int
	Database string
	params   url.Values // the rest of the query: sslmode and its like
}

// ParseURL reads a libpq URL (postgresql://user:password@host:port/database?sslmode=…);
// a driver's name as in postgresql+psycopg:// is dropped. The password is
// registered as a secret. An error never holds the URL.
func ParseURL(s string) (URL, error) {
	fail := func(why string) (URL, error) {
		return URL{}, fmt.Errorf("reading the database URL: %s: it has the form postgresql://USER:PASSWORD@HOST:PORT/DATABASE, special characters of the password percent-encoded", why)
	}
	u, err := url.Parse(s)
	if err != nil {
		return fail("it cannot be parsed")
	}
	scheme, driver, _ := strings.Cut(u.Scheme, "+")
	if scheme != "postgresql" && scheme != "postgres" {
		return fail("its scheme is not postgresql")
	}
	p := URL{User: u.User.Username(), Host: u.Hostname(), Port: 5432, Database: strings.TrimPrefix(u.Path, "/"), params: u.Query()}
	p.Password, _ = u.User.Password()
	host.AddSecret(p.Password)
	if h := p.params.Get("host"); h != "" && p.Host == "" {
		p.Host = h
	}
	port := cmp.Or(u.Port(), p.params.Get("port"))
	p.params.Del("host")
	p.params.Del("port")
	if driver != "" { // which has parameters of its own, that the server would refuse
		for name := range p.params {
			if !strings.HasPrefix(name, "ssl") || name == "ssl" {
				p.params.Del(name)
			}
		}
	}
	if port != "" {
		if p.Port, err = strconv.Atoi(port); err != nil || p.Port < 1 || p.Port > 65535 {
			return fail("its port is not one")
		}
	}
	switch {
	case p.User == "":
		return fail("the user is missing")
	case p.Host == "" || strings.Contains(p.Host, ","):
		return fail("it needs exactly one host")
	case p.Database == "" || strings.Contains(p.Database, "/"):
		return fail("the database is missing or holds a slash")
	}
	return p, nil
}

// String is the URL without its password.
func (u URL) String() string {
	return fmt.Sprintf("postgresql://%s@%s/%s", u.User, u.address(), u.Database)
}

func (u URL) address() string {
	if u.socket() {
		return u.Host
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(u.Port))
}

func (u URL) socket() bool { return strings.HasPrefix(u.Host, "/") }

// WithDatabase is the address of another database on the same server.
func (u URL) WithDatabase(name string) URL {
	u.Database = name
	return u
}

// SameServer reports whether both name the same server by the same words.
func (u URL) SameServer(o URL) bool { return u.Host == o.Host && u.Port == o.Port }

// DSN is the libpq URL with the password: a secret.
func (u URL) DSN() string { return u.dsn("postgresql") }

// SQLAlchemy is the URL, with the password, for that library with a driver
// such as psycopg.
func (u URL) SQLAlchemy(driver string) string { return u.dsn("postgresql+" + driver) }

func (u URL) dsn(scheme string) string {
	params := url.Values{}
	for name, values := range u.params {
		params[name] = values
	}
	out := url.URL{Scheme: scheme, User: url.UserPassword(u.User, u.Password), Host: u.address(), Path: "/" + u.Database}
	if u.socket() {
		out.Host = ""
		params.Set("host", u.Host)
		params.Set("port", strconv.Itoa(u.Port))
	}
	out.RawQuery = params.Encode()
	return out.String()
}

// Env gives a libpq program everything by its environment, nothing by argv.
func (u URL) Env(applicationName string) []string {
	env := []string{
		"PGHOST=" + u.Host, "PGPORT=" + strconv.Itoa(u.Port), "PGUSER=" + u.User, "PGPASSWORD=" + u.Password,
		"PGDATABASE=" + u.Database, "PGAPPNAME=" + applicationName, "PGCONNECT_TIMEOUT=10", "PGOPTIONS=",
	}
	for param, name := range map[string]string{"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"} {
		if v := u.params.Get(param); v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}
