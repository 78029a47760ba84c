package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// lookOrigin asks the git origin for its branches and tags, source.ref among them.
func lookOrigin(ctx context.Context, t *Target) report.Finding {
	looked := "git origin"
	began := time.Now()
	out, err := t.git(ctx, 2*t.Config.Timeouts.Connect, "ls-remote", "--heads", "--tags", originRemote)
	if err != nil {
		return fault(looked, err.Error(), "see source.origin in "+t.Config.File)
	}
	refs := strings.Fields(out)
	counts := map[string]int64{"refs": int64(len(refs) / 2), "ms": time.Since(began).Milliseconds()}
	ref := t.Config.Source.Ref
	for _, name := range refs {
		if name == "refs/heads/"+ref || name == "refs/tags/"+ref || commitForm.MatchString(ref) {
			return marked(found(looked, "answers, %d branches and tags", len(refs)/2), "", counts)
		}
	}
	return marked(warn(looked, fmt.Sprintf("answers, and has neither branch nor tag %q", ref), "correct source.ref in "+t.Config.File+", or name another with -ref"), "", counts)
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{7,64}$`)

func lookPriceSource(ctx context.Context, t *Target) report.Finding {
	const looked, do = "price source", "updates will fail until it answers"
	if t.Config.PriceSourceURL == "" {
		return warn(looked, "price_source_url is not configured", "without it only verify:update shows whether prices can be had")
	}
	status, took, err := t.ask(ctx, t.Config.PriceSourceURL)
	counts := map[string]int64{"status": int64(status), "ms": took.Milliseconds()}
	said := fmt.Sprintf("answers %d in %s", status, report.Duration(took))
	switch {
	case err != nil: // of no deployment's doing
		return marked(warn(looked, err.Error(), do), "", counts)
	case refused(status):
		return marked(warn(looked, said+": it wants a login", "see price_source_url in "+t.Config.File), "", counts)
	case status >= http.StatusInternalServerError:
		return marked(warn(looked, said, do), "", counts)
	}
	return marked(found(looked, "%s", said), "", counts)
}

func refused(status int) bool {
	return status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusProxyAuthRequired
}

// pipDefault is where pip looks that was told nothing.
const pipDefault = "https://pypi.org/simple"

// lookPackageIndex asks the index that release:install will ask, for pip
// itself, which every index has or says it has not.
func lookPackageIndex(ctx context.Context, t *Target) report.Finding {
	const looked = "package index"
	index, told := t.Config.Python.PackageIndex, "python.package_index in "+t.Config.File
	bad := fault
	if index == "" {
		// pip has more ways than are read here, such as --find-links.
		index, told = t.pipIndex(ctx)
		bad = warn
	}
	status, took, err := t.ask(ctx, strings.TrimSuffix(index, "/")+"/pip/")
	counts := map[string]int64{"status": int64(status), "ms": took.Milliseconds()}
	said := fmt.Sprintf("%s answers %d in %s", withoutLogin(index), status, report.Duration(took))
	switch {
	case err != nil:
		return marked(bad(looked, err.Error(), "see "+told+": release:install fails until it answers"), "", counts)
	case refused(status):
		return marked(bad(looked, said+": it refuses the login", "see "+told), "", counts)
	case status >= http.StatusInternalServerError:
		return marked(bad(looked, said, "see "+told+": release:install fails until it answers"), "", counts)
	}
	return marked(found(looked, "%s", said), "", counts)
}

var indexLine = regexp.MustCompile(`(?m)^\s*index[-_]url\s*[=:]\s*(\S+)`)

// pipIndex is the index that pip's own configuration names, the nearest first.
func (t *Target) pipIndex(ctx context.Context) (index, told string) {
	if index = os.Getenv("PIP_INDEX_URL"); index != "" {
		return index, "PIP_INDEX_URL"
	}
	home := os.Getenv("HOME")
	for _, file := range []string{os.Getenv("PIP_CONFIG_FILE"), path.Join(home, ".config/pip/pip.conf"), path.Join(home, ".pip/pip.conf"), "/etc/pip.conf"} {
		if content, err := t.Host.ReadFile(ctx, cmp.Or(file, "/nowhere")); err == nil {
			if m := indexLine.FindSubmatch(content); m != nil {
				return string(m[1]), file
			}
		}
	}
	return pipDefault, "pip's configuration (it names none, so this is its default)"
}

// withoutLogin is an address for a message.
func withoutLogin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the address"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// ask makes one request to a server outside, by the proxy of the environment
// if there is one, and reads none of the answer's content.
func (t *Target) ask(ctx context.Context, address string) (status int, took time.Duration, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return 0, 0, errors.New("its address cannot be read")
	}
	if password, ok := u.User.Password(); ok {
		host.AddSecret(password)
	} else if u.User != nil {
		host.AddSecret(u.User.Username()) // a token
	}
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return t.Host.Dial(ctx, "tcp", address)
		}},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, 0, errors.New("its address cannot be read")
	}
	began := time.Now()
	res, err := client.Do(req)
	took = time.Since(began)
	if err != nil {
		return 0, took, notAnswering("the server", withoutLogin(address), err)
	}
	res.Body.Close()
	return res.StatusCode, took, nil
}

// lookTCP connects to the server of a URL.
func (t *Target) lookTCP(ctx context.Context, looked, address, do string) report.Finding {
	u, err := url.Parse(address)
	if err != nil {
		return fault(looked, "its address cannot be read", do)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := t.Host.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return warn(looked, err.Error(), do)
	}
	conn.Close()
	return found(looked, "%s accepts connections", u.Host)
}
