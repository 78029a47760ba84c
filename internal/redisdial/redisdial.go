// Package redisdial makes clients of Redis that dial through a host, for the
// service's cache and for a broker that is Redis.
package redisdial

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ErrURL says that a URL cannot be read; its words hold nothing of the URL.
var ErrURL = errors.New("it is not of the form redis://:PASSWORD@HOST:PORT/DB (special characters of the password percent-encoded)")

// Options are those of a client for a redis:// or rediss:// URL. Calls end with
// their context, after ten seconds without one; nothing is retried more than
// once, and no more than pool connections are made. ErrURL.
func Options(h host.Host, url string, pool int) (*redis.Options, error) {
	opts, err := redis.ParseURL(url)
	if err != nil {
		return nil, ErrURL // the parser's own words may hold the password
	}
	host.AddSecret(opts.Password)
	// Errors are returned; the library's own messages would tear the output.
	logging.Disable()
	tlsConfig := opts.TLSConfig
	opts.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := h.Dial(ctx, network, addr)
		if err != nil || tlsConfig == nil {
			return conn, err
		}
		secure := tls.Client(conn, tlsConfig)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		return secure, nil
	}
	opts.MaxRetries, opts.DialerRetries, opts.PoolSize = 1, 1, pool
	opts.ContextTimeoutEnabled, opts.DisableIdentity = true, true
	opts.ReadTimeout, opts.WriteTimeout = 10*time.Second, 10*time.Second
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return opts, nil
}

// Answered reports whether err is the server's own answer, and its words; an
// error without one is of the way to it.
func Answered(err error) (words string, ok bool) {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return "", false
	}
	return answer.Error(), true
}

// RefusedLogin reports whether the server's answer is that it does not let us in.
func RefusedLogin(err error) bool {
	words, _ := Answered(err)
	for _, code := range []string{"WRONGPASS", "NOAUTH", "ERR AUTH", "ERR invalid password"} {
		if strings.HasPrefix(words, code) {
			return true
		}
	}
	return false
}
