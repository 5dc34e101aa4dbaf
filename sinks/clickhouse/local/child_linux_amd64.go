package local

import (
	"errors"
	"fmt"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/ebitengine/purego"
)

const librarySupported = true

// runLibrary loads chDB's library and gives this thread to it until its
// standard input ends. The C side:
//
//	chdb_result *chdb_query_cmdline(int argc, char **argv);
//	const char *chdb_result_error(chdb_result *);   // NULL: none
//	void chdb_destroy_query_result(chdb_result *);
//	void chdb_set_signal_handlers_enabled(int);
func runLibrary(path string, args []string) error {
	// A ClickHouse server ignores it, the library leaves it to us: without
	// this, a client that hangs up while it is being written to ends us.
	signal.Ignore(syscall.SIGPIPE)
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load %s (it needs glibc): %w", path, err)
	}
	var (
		query          func(argc int32, argv **byte) uintptr
		resultError    func(result uintptr) string
		destroy        func(result uintptr)
		signalHandlers func(enabled int32)
	)
	for name, f := range map[string]any{
		"chdb_query_cmdline": &query, "chdb_result_error": &resultError,
		"chdb_destroy_query_result": &destroy, "chdb_set_signal_handlers_enabled": &signalHandlers,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		purego.RegisterFunc(f, symbol)
	}
	signalHandlers(0) // Go's own stay

	var pinner runtime.Pinner
	defer pinner.Unpin()
	argv := make([]*byte, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		text := append([]byte(arg), 0)
		pinner.Pin(&text[0])
		argv = append(argv, &text[0])
	}
	argv = append(argv, nil)
	pinner.Pin(&argv[0])

	result := query(int32(len(argv)-1), &argv[0])
	if result == 0 {
		return errors.New("the engine ended without a result")
	}
	defer destroy(result)
	if text := resultError(result); text != "" {
		return errors.New(text)
	}
	return nil
}
