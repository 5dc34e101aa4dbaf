package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/editor"
)

func newRulesNewCmd() *cobra.Command {
	var names, docs []string
	for _, t := range editor.Templates() {
		names = append(names, t.Name)
		docs = append(docs, fmt.Sprintf("  %-9s %s", t.Name, t.Doc))
	}
	cmd := &cobra.Command{
		Use:   "new ID",
		Short: "Writes a rule from a template",
		Long: `Prints a rule file with one rule from a template, or with --to adds the rule to a
file, which is made where there is none. The rule is in shadow: it is recorded
and decides nothing until its mode is live.

` + strings.Join(docs, "\n") + `

The rules of the file's folder are checked with it before anything is written.

Exit codes: 0 fine, 1 the rules would be faulty, 2 the command was given wrongly.`,
		Example: `  refundguard rules new many-refunds
  refundguard rules new devices --template ring --to rules/rings.yaml`,
		Args: cobra.ExactArgs(1),
	}
	file := configFlag(cmd)
	template := cmd.Flags().StringP("template", "t", names[0], "template: "+strings.Join(names, ", "))
	to := cmd.Flags().String("to", "", "add the rule to this file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		target, err := findRules(*file, os.DevNull) // the folder is that of --to
		if err != nil {
			return err
		}
		for _, t := range editor.Templates() {
			if t.Name == *template {
				return newRule(cmd, t, args[0], *to, target.options)
			}
		}
		return usage{fmt.Errorf("there is no template %q; write one of %s", *template, strings.Join(names, ", "))}
	}
	return cmd
}

func newRule(cmd *cobra.Command, t editor.Template, id, to string, options rules.Options) error {
	over := overlay{name: "new.yaml"}
	shown := "the new rule"
	if to != "" {
		dir := filepath.Dir(to)
		if _, err := os.Stat(dir); err != nil {
			return usage{fmt.Errorf("--to %s: there is no folder %s", to, dir)}
		}
		if ext := filepath.Ext(to); ext != ".yaml" && ext != ".yml" || strings.HasSuffix(strings.TrimSuffix(to, ext), "_test") || strings.HasPrefix(filepath.Base(to), ".") {
			return usage{fmt.Errorf("--to %s: rule files are called *.yaml or *.yml, and those that end in _test.yaml hold tests", to)}
		}
		over.name, over.below, shown = filepath.Base(to), os.DirFS(dir), dir
	}
	var source []byte
	if to != "" {
		var err error
		if source, err = os.ReadFile(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read %s: %w", to, reason(err))
		}
	}
	content, err := t.AddTo(source, id)
	if err != nil {
		return fmt.Errorf("add the rule to %s: %w", to, err)
	}
	over.content = content
	_, err = rules.LoadFS(over, shown, options)
	var faults rules.Errors
	if errors.As(err, &faults) {
		if err := faults.WriteText(cmd.ErrOrStderr()); err != nil {
			return err
		}
		fmt.Fprintln(cmd.ErrOrStderr(), "nothing was written")
		return errReported
	}
	if err != nil {
		return err
	}
	if to == "" {
		_, err := cmd.OutOrStdout().Write(content)
		return err
	}
	if err := replaceFile(to, content); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: rule %s was added, in shadow\n", to, id)
	return err
}

// overlay is a folder in which one file has another content, or is new.
type overlay struct {
	below   fs.FS // nil: nothing
	name    string
	content []byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if name == o.name {
		return &memoryFile{Reader: bytes.NewReader(o.content), of: o}, nil
	}
	if o.below == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return o.below.Open(name)
}

// ReadDir makes a new file show in the listing.
func (o overlay) ReadDir(name string) (entries []fs.DirEntry, err error) {
	if o.below != nil {
		if entries, err = fs.ReadDir(o.below, name); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if e.Name() == o.name {
			return entries, nil
		}
	}
	return append(entries, fs.FileInfoToDirEntry(memoryInfo{o})), nil
}

type memoryFile struct {
	*bytes.Reader
	of overlay
}

func (f *memoryFile) Stat() (fs.FileInfo, error) { return memoryInfo{f.of}, nil }
func (f *memoryFile) Close() error               { return nil }

type memoryInfo struct{ of overlay }

func (i memoryInfo) Name() string       { return i.of.name }
func (i memoryInfo) Size() int64        { return int64(len(i.of.content)) }
func (i memoryInfo) Mode() fs.FileMode  { return 0o644 }
func (i memoryInfo) ModTime() time.Time { return time.Time{} }
func (i memoryInfo) IsDir() bool        { return false }
func (i memoryInfo) Sys() any           { return nil }
