package local

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Command is the hidden first argument that makes our executable a ClickHouse.
const Command = "clickhouse-engine"

// childEnv marks the child's environment. An executable that forgets
// RunIfChild would otherwise start children without end.
const childEnv = "REFUNDGUARD_CLICKHOUSE_CHILD"

// RunIfChild makes this process the ClickHouse server, and does not return, if
// it was started as one by Start. Call it first in main and in TestMain.
func RunIfChild() {
	if len(os.Args) > 1 && os.Args[1] == Command {
		os.Exit(childMain(os.Args[2:]))
	}
}

// childMain runs the engine that args name until standard input ends, which it
// does when our parent closes it or dies.
func childMain(args []string) int {
	if len(args) < 2 || os.Getenv(childEnv) == "" {
		fmt.Fprintf(os.Stderr, "%s is started by refundguard itself, never by hand\n", Command)
		return 2
	}
	var err error
	switch kind := engineKind(args[0]); kind {
	case libraryEngine:
		err = runLibrary(args[1], args[2:])
	case binaryEngine:
		err = runBinary(args[1], args[2:])
	default:
		err = fmt.Errorf("unknown kind of engine %q", kind)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", Command, err)
		return 1
	}
	return 0
}

// runBinary runs `clickhouse server`, which would not notice that our parent
// has gone.
func runBinary(path string, args []string) error {
	// The kernel's signal at a parent's death is the death of its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(lockFD, lockFile)}
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	go func() {
		buf := make([]byte, 64)
		for {
			if _, err := os.Stdin.Read(buf); err != nil {
				cmd.Process.Signal(syscall.SIGTERM) // an error here: it has ended, and Wait says how
				return
			}
		}
	}()
	return cmd.Wait()
}
