package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/refundguard/refundguard/rules"
	"github.com/refundguard/refundguard/rules/rulefmt"
)

func newRulesFmtCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fmt [DIR | FILE]",
		Short: "Writes rule files in their canonical form",
		Long: `Gives rule files one form: keys in one order, one way to quote, conditions with
and, or, not and double quotes, a blank line between rules. Comments stay where
they belong, and the rules mean the same: the result is read back and compared.

It prints the result of one file; of a folder, the names of the files that are
not in canonical form. -w writes them. Files with tests (*_test.yaml) are left
alone.

Exit codes: 0 fine, 1 with --check: some file is not in canonical form, or a file
can't be read, 2 the command was given wrongly.`,
		Example: `  refundguard rules fmt -w rules
  refundguard rules fmt --check rules
  refundguard rules fmt rules/velocity.yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	file := configFlag(cmd)
	write := cmd.Flags().BoolP("write", "w", false, "write the files")
	check := cmd.Flags().Bool("check", false, "write nothing; exit with 1 if a file is not in canonical form")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *write && *check {
			return usage{errors.New("--write and --check exclude each other")}
		}
		target, err := findRules(*file, argument(args, 0))
		if err != nil {
			return err
		}
		paths, err := rules.RuleFiles(target.dir)
		if err != nil {
			return err
		}
		info, err := os.Stat(target.dir)
		if err != nil {
			return err
		}
		f := formatter{cmd: cmd, write: *write, check: *check, print: !info.IsDir()}
		for _, path := range paths {
			if err := f.file(path); err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", path, err)
				f.failed = true
			}
		}
		if f.failed || *check && f.changed {
			return errReported
		}
		return nil
	}
	return cmd
}

// formatter formats files one after the other.
type formatter struct {
	cmd                 *cobra.Command
	write, check, print bool
	changed, failed     bool
}

func (f *formatter) file(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return reason(err)
	}
	formatted, err := rulefmt.Format(source)
	if err != nil {
		return err
	}
	out := f.cmd.OutOrStdout()
	if f.print && !f.write && !f.check {
		_, err := out.Write(formatted)
		return err
	}
	if bytes.Equal(source, formatted) {
		return nil
	}
	f.changed = true
	if f.write {
		if err := replaceFile(path, formatted); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, path)
	return err
}

func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// replaceFile writes a file in one step, so that a running service never reads
// half of it. Through a link, it replaces what the link leads to.
func replaceFile(path string, content []byte) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".refundguard-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(tmp.Name()) // gone already once it was renamed
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
