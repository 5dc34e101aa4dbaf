// Benchcompare measures two versions of the program on the same machine, in turn:
// what else runs there then slows down both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	c := comparison{out: os.Stdout, tell: os.Stderr}
	flag.StringVar(&c.root, "root", ".", "the repository, whose working tree is the new version")
	flag.StringVar(&c.old, "old", "", "the old version: a commit, a tag, a branch")
	what := flag.String("what", "engine --events 1000000", "what `refundguard bench` is to measure, with its flags")
	flag.IntVar(&c.rounds, "rounds", 7, "how often each version is measured")
	flag.Parse()
	c.what = strings.Fields(*what)
	if c.old == "" || c.rounds < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "benchcompare: -old says which version to compare with, e.g. -old HEAD~1, and -rounds is 1 at least")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchcompare:", err)
		os.Exit(1)
	}
}

// comparison is what is compared, and how.
type comparison struct {
	root, old string
	what      []string
	rounds    int
	out, tell io.Writer
}

// run leaves nothing behind but what it prints. The error may be that the two
// versions decide differently.
func (c comparison) run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "refundguard-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tree := filepath.Join(dir, "tree")
	if err := c.command(ctx, c.root, "git", "worktree", "add", "--quiet", "--detach", tree, c.old); err != nil {
		return fmt.Errorf("checking %s out: %w", c.old, err)
	}
	defer func() {
		err = errors.Join(err, c.command(context.WithoutCancel(ctx), c.root, "git", "worktree", "remove", "--force", tree))
	}()
	versions := []version{{name: "old", tree: tree}, {name: "new", tree: c.root}}
	for i := range versions {
		v := &versions[i]
		fmt.Fprintf(c.tell, "building the %s version\n", v.name)
		v.program = filepath.Join(dir, v.name)
		if err := c.command(ctx, v.tree, "go", "build", "-trimpath", "-o", v.program, "./cmd/refundguard"); err != nil {
			return fmt.Errorf("building the %s version: %w", v.name, err)
		}
	}
	for round := range c.rounds {
		for i := range versions {
			v := &versions[(i+round)%2] // each goes first as often
			fmt.Fprintf(c.tell, "round %d of %d: %s\n", round+1, c.rounds, v.name)
			if err := v.measure(ctx, c.what); err != nil {
				return fmt.Errorf("measuring the %s version: %w", v.name, err)
			}
		}
	}
	return compare(c.out, versions[0].rounds, versions[1].rounds)
}

func (c comparison) command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, c.tell, c.tell
	return cmd.Run()
}

// version is one of the two, and what it measured.
type version struct {
	name, tree, program string
	rounds              []round
}

func (v *version) measure(ctx context.Context, what []string) error {
	cmd := exec.CommandContext(ctx, v.program, append(append([]string{"bench"}, what...), "-o", "json")...)
	cmd.Dir = v.tree
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it deletes its topics
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("bench %s: %w:\n%s", strings.Join(what, " "), err, said.String())
	}
	r, err := parse(text)
	if err == nil {
		v.rounds = append(v.rounds, r)
	}
	return err
}
