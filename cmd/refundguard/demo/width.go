package demo

import (
	"io"
	"os"

	"golang.org/x/term"
)

// width is the terminal's, or 0 where there is none.
func width(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}
