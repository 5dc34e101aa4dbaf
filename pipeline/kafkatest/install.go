package kafkatest

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// version is the Apache Kafka that pom.xml asks for.
const version = "4.1.0"

//go:embed install/pom.xml
var pom []byte

// errMissing wraps what a machine lacks for the real broker.
var errMissing = errors.New("the real Kafka broker can't run here")

// install returns the folder that holds the broker's jars, and fetches them
// with Maven if they aren't in the user's cache folder yet. Test binaries that
// start at the same time wait for the one that fetches.
func install() (string, error) {
	if err := checkJava(); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache folder: %w", err)
	}
	root := filepath.Join(cache, "refundguard")
	jars := filepath.Join(root, "kafka-"+version)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	lock, err := os.OpenFile(jars+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", fmt.Errorf("lock the cache folder: %w", err)
	}
	defer lock.Close() // which unlocks it; so does our death
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	return jars, fetch(root, jars)
}

// fetch has Maven copy the jars, and moves them into place only when all are
// there.
func fetch(root, jars string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: Maven (mvn) fetches it the first time, and is not on PATH: install the package maven", errMissing)
	}
	tmp, err := os.MkdirTemp(root, "kafka-*.part")
	if err != nil {
		return fmt.Errorf("make a folder for Kafka's jars: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), pom, 0o644); err != nil {
		return fmt.Errorf("write Maven's project: %w", err)
	}
	// -C: a jar whose checksum is wrong fails the build.
	cmd := exec.Command(mvn, "-B", "-q", "-C", "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(tmp, "lib"))
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch Apache Kafka %s with Maven: %w\n%s", version, err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "lib"), jars); err != nil {
		return fmt.Errorf("keep Kafka's jars: %w", err)
	}
	return nil
}

func checkJava() error {
	java, err := exec.LookPath("java")
	if err != nil {
		return fmt.Errorf("%w: Java 17 or later is needed, and no java is on PATH: install the package default-jre-headless", errMissing)
	}
	out, err := exec.Command(java, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w\n%s", java, err, out)
	}
	_, rest, _ := bytes.Cut(out, []byte("java.specification.version = "))
	line, _, _ := strings.Cut(string(rest), "\n")
	if n, err := strconv.Atoi(strings.TrimSpace(line)); err != nil || n < 17 {
		return fmt.Errorf("%w: Java 17 or later is needed, and %s is %q", errMissing, java, line)
	}
	return nil
}
