//go:build mage

// Deploys the ETF service by its deployment plan: every item of the plan is a
// target. The environment is named by ETF_ENV (default: sandbox) and described
// in deploy.yaml.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/magefile/mage/mg"
	"golang.org/x/term"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lifetime"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// configFile describes the environments; it lies where the targets are run.
const configFile = "deploy.yaml"

// The plan's options as people write them: Mage takes an option's name from an
// argument's, which holds no dash.
func init() {
	for i, arg := range os.Args {
		name, value, given := strings.Cut(arg, "=")
		if name == "-keep-release" || name == "-bring-back" {
			os.Args[i] = "-" + strings.ReplaceAll(name, "-", "")
			if given {
				os.Args[i] += "=" + value
			}
		}
	}
}

// on runs f on the environment's target and turns its error into the exit
// code of the target. Lines for people go to standard error where f prints
// JSON to standard output.
func on(ctx context.Context, f func(context.Context, *checklist.Target) error) error {
	ctx, stop := lifetime.Context(ctx, step.ErrInterrupted)
	defer stop()
	cfg, err := config.Load(configFile, config.Environment())
	if err != nil {
		return exit(nil, err)
	}
	printer := report.NewPrinter(os.Stderr)
	defer printer.Close()
	t := checklist.NewTarget(cfg, printer)
	t.RegisterSecrets(ctx)
	err = f(ctx, t)
	printer.Close()
	if err == nil && ctx.Err() != nil {
		// Whatever was done: a process that was asked to end does not say 0.
		err = context.Cause(ctx)
	}
	return exit(t, err)
}

// exit is the outermost error of a target: Mage takes the exit code from it
// only there.
func exit(t *checklist.Target, err error) error {
	if err == nil {
		return nil
	}
	text := host.Redact(err.Error())
	code := checklist.ExitCode(err)
	if code == 0 {
		fmt.Fprintln(os.Stderr, text)
		return nil
	}
	if errors.Is(err, step.ErrNeedsPerson) && t != nil {
		text += "\n\n" + checklist.ContactsText(t.Config)
	}
	return mg.Fatal(code, text)
}

// operate runs an operation of this kind after it was confirmed.
func operate(ctx context.Context, kind string, o checklist.Options, yes *bool, wait *time.Duration) error {
	return operateThen(ctx, kind, o, yes, wait, func(*checklist.Target, *step.Operation) error { return nil })
}

// operateThen is operate for what reports what it found, once it has succeeded.
func operateThen(ctx context.Context, kind string, o checklist.Options, yes *bool, wait *time.Duration, report func(*checklist.Target, *step.Operation) error) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		op, err := perform(ctx, t, kind, o, yes, wait)
		if err != nil {
			return err
		}
		return report(t, op)
	})
}

// perform is operate on a target.
func perform(ctx context.Context, t *checklist.Target, kind string, o checklist.Options, yes *bool, wait *time.Duration) (*step.Operation, error) {
	o.Wait = value(wait)
	if err := confirm(ctx, t, kind, yes); err != nil {
		return nil, err
	}
	op, err := t.Operate(ctx, kind, o)
	if errors.Is(err, checklist.ErrInterruptedBefore) && !set(yes) {
		op, err = overInterrupted(ctx, t, kind, o, err)
	}
	if err == nil {
		err = tellPipeline(op)
	}
	if op != nil && !errors.Is(err, step.ErrNothingToDo) {
		fmt.Fprintln(os.Stderr)
		if sumErr := t.Summary(os.Stderr, op); sumErr != nil {
			err = errors.Join(err, sumErr)
		}
	}
	return op, err
}

// overInterrupted asks a person at a terminal which way an interrupted
// operation shall go, and then runs the one that was asked for.
func overInterrupted(ctx context.Context, t *checklist.Target, kind string, o checklist.Options, found error) (*step.Operation, error) {
	if !atTerminal() {
		return nil, found
	}
	answer, err := ask(ctx, fmt.Sprintf("%v\n[r]esume it, [u]ndo it, or leave it? [r/u/N] ", found))
	if err != nil || !strings.HasPrefix(answer, "r") && !strings.HasPrefix(answer, "u") {
		return nil, errors.Join(err, found)
	}
	if op, err := t.Settle(ctx, strings.HasPrefix(answer, "u"), o.Wait); err != nil {
		return op, err
	}
	return t.Operate(ctx, kind, o)
}

// confirm asks, where the environment wants it and a person is there to answer.
func confirm(ctx context.Context, t *checklist.Target, what string, yes *bool) error {
	if !t.Config.Confirm || set(yes) || confirmed || !atTerminal() {
		return nil
	}
	answer, err := ask(ctx, fmt.Sprintf("Run %s on %s? [y/N] ", what, t.Config.Environment))
	if err != nil {
		return err
	}
	if confirmed = strings.HasPrefix(answer, "y"); !confirmed {
		return errors.New("declined: nothing was changed")
	}
	return nil
}

func atTerminal() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// ask reads an answer, in small letters.
func ask(ctx context.Context, question string) (string, error) {
	fmt.Fprint(os.Stderr, question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case line := <-answer:
		return line, nil
	}
}

// confirmed holds for all that one call runs: a target and what it depends on.
var confirmed bool

// check runs the checks of a section by themselves.
func check(ctx context.Context, checks checklist.Checks, ref *string, asJSON, explain *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		subject, err := t.SubjectAlone(ctx, value(ref))
		if err != nil {
			return err
		}
		findings, judgement := t.RunChecks(ctx, checks, subject)
		list := report.Findings{Environment: t.Config.Environment, At: t.Now(), List: findings}
		if set(asJSON) {
			return errors.Join(list.JSON(os.Stdout), judgement)
		}
		return errors.Join(list.Write(os.Stdout, set(explain)), judgement)
	})
}

// tellPipeline gives a GitHub job the commit that it worked on, so that the
// next job means the same one by it.
func tellPipeline(op *step.Operation) error {
	file := os.Getenv("GITHUB_OUTPUT")
	commit := checklist.CommitOf(op)
	if file == "" || commit == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "commit=%s\n", commit)
	return errors.Join(err, f.Close())
}

func printJSON(v any) error { return report.JSON(os.Stdout, v) }

func set(b *bool) bool { return value(b) }

// value is that of an optional argument, or none.
func value[T any](v *T) (none T) {
	if v == nil {
		return none
	}
	return *v
}
