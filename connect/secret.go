package connect

import (
	"fmt"
	"os"
	"strings"
)

// Secret is a secret that is given, or else the content of a file without the
// line's end. key names the file's setting in errors.
func Secret(given, file, key string) (string, error) {
	if file == "" {
		return given, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("%s: %s is empty", key, file)
	}
	return secret, nil
}
