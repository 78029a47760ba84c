package celery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// listTasks imports an application as a worker does and prints what it registers.
const listTasks = `
import json, sys
from celery.app.utils import find_app
app = find_app(sys.argv[1])
app.loader.import_default_modules()
app.finalize()
print("\n" + json.dumps(sorted(app.tasks)))
`

// Tasks are the names of the tasks that the application registers, without
// Celery's own, by its own Python: nothing else can tell of code that does not
// run. It speaks to no broker.
func Tasks(ctx context.Context, h host.Host, o Options) ([]string, error) {
	res, err := h.Run(ctx, host.Command{Argv: []string{o.Python, "-c", listTasks, o.App}, Dir: o.Dir, Env: o.Env, Timeout: startUp})
	if err != nil {
		return nil, fmt.Errorf("listing the tasks of %s: %w", o.App, err)
	}
	lines := bytes.Split(bytes.TrimSpace(res.Stdout), []byte("\n"))
	var names []string
	if err := json.Unmarshal(lines[len(lines)-1], &names); err != nil {
		return nil, fmt.Errorf("listing the tasks of %s: it printed no list: %w", o.App, err)
	}
	return slices.DeleteFunc(names, BuiltIn), nil
}

// BuiltIn reports whether a task is Celery's own, which every application has.
func BuiltIn(task string) bool { return strings.HasPrefix(task, "celery.") }
