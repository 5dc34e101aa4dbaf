//go:build !(linux && amd64)

package local

import "errors"

const librarySupported = false

func runLibrary(string, []string) error {
	return errors.New("chDB's library exists for Linux on x86-64 only")
}
