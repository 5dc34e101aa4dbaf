package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// watchdog outlives this process, whatever ends it: when the pipe from us
// closes it kills the broker that it was last told of and removes its folder.
// An empty line means that no broker is running.
const watchdog = `pid=
while read -r line; do pid=$line; done
[ -z "$pid" ] || kill -9 "$pid"
for i in 1 2 3 4 5; do rm -rf "$1" && break; sleep 1; done`

// apache is one Apache Kafka broker and controller in a process of its own,
// with its data in a folder of its own.
type apache struct {
	jars  string
	dir   string
	watch io.WriteCloser

	port       int
	securePort int
	back       int // where a proxy reaches the broker
	door       int // where the proxy listens, so that clients are told to come there

	java *exec.Cmd
	exit chan error // what the java process ended with
}

// newApache formats a data folder and starts a broker on it. Ports are free
// when they are chosen, and may be taken by the time that the broker binds
// them: then the next attempt chooses others.
func newApache(jars string) (*apache, error) {
	dir, err := os.MkdirTemp("", "refundguard-kafka-")
	if err != nil {
		return nil, fmt.Errorf("make the broker's folder: %w", err)
	}
	a := &apache{jars: jars, dir: dir}
	if err := a.startWatchdog(); err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		err := a.format()
		if err == nil {
			err = a.restart()
		}
		if err == nil {
			return a, nil
		}
		if attempt == 3 || !strings.Contains(err.Error(), "Address already in use") {
			a.watch.Close() // removes the folder
			return nil, err
		}
	}
}

func (a *apache) startWatchdog() error {
	cmd := exec.Command("sh", "-c", watchdog, "sh", a.dir)
	// A process group of its own: Ctrl-C in a terminal must not end it first.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start the broker's watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the broker's watchdog: %w", err)
	}
	a.watch = pipe
	return nil
}

func (a *apache) format() error {
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	a.port, a.securePort, a.back, a.door = ports[0], ports[2], ports[3], ports[4]
	if err := a.writeCertificate(); err != nil {
		return err
	}
	id := make([]byte, 16)
	rand.Read(id)
	config := fmt.Sprintf(properties, ports[0], ports[1], filepath.Join(a.dir, "data"), a.securePort, a.back, a.door) +
		fmt.Sprintf(secureProperties, filepath.Join(a.dir, "server.pem"), secureUser, securePassword)
	if err := os.WriteFile(filepath.Join(a.dir, "server.properties"), []byte(config), 0o644); err != nil {
		return fmt.Errorf("write the broker's configuration: %w", err)
	}
	os.RemoveAll(filepath.Join(a.dir, "data"))
	// The id must not begin with a dash, or it is taken for a flag.
	cmd := a.command("kafka.tools.StorageTool", "format", "-c", "server.properties",
		"-t", "k"+base64.RawURLEncoding.EncodeToString(id)[1:])
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format the broker's data folder: %w\n%s", err, out)
	}
	return nil
}

// properties is a broker for tests: one node, no waiting for others, any
// timestamp taken, nothing deleted because it is old, and back soon after a kill
// (a broker can't register again before its session has timed out).
const properties = `process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d,SECURE://127.0.0.1:%[4]d,PROXIED://127.0.0.1:%[5]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d,SECURE://127.0.0.1:%[4]d,PROXIED://127.0.0.1:%[6]d
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,PROXIED:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:%[2]d
inter.broker.listener.name=PLAINTEXT
log.dirs=%[3]s
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
transaction.max.timeout.ms=3600000
log.message.timestamp.before.max.ms=9223372036854775807
log.message.timestamp.after.max.ms=9223372036854775807
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=16777216
log.segment.bytes=134217728
`

func (a *apache) command(class string, args ...string) *exec.Cmd {
	jvm := []string{
		// Compiling less makes it start in half the time, and leaves the cores to the test.
		"-Xms128m", "-Xmx768m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-cp", filepath.Join(a.jars, "*"), class,
	}
	cmd := exec.Command("java", append(jvm, args...)...)
	cmd.Dir = a.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (a *apache) addr() string { return local(a.port) }

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// restart starts the broker and returns once it answers.
func (a *apache) restart() error {
	log, err := os.OpenFile(a.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the broker's log: %w", err)
	}
	defer log.Close()
	cmd := a.command("kafka.Kafka", "server.properties")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start java: %w", err)
	}
	fmt.Fprintln(a.watch, cmd.Process.Pid)
	exit := make(chan error, 1)
	go func() { exit <- cmd.Wait() }()
	a.java, a.exit = cmd, exit

	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		select {
		case err := <-exit:
			fmt.Fprintln(a.watch)
			return fmt.Errorf("the broker ended while starting: %v\n%s", err, a.logTail())
		default:
		}
		if a.answers() {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.kill()
	return fmt.Errorf("the broker did not answer on %s within %s\n%s", a.addr(), patience, a.logTail())
}

// answers reports whether the broker takes part in its cluster. A bare dial
// comes first, so that waiting doesn't fill the log with a client's retries.
func (a *apache) answers() bool {
	conn, err := net.DialTimeout("tcp", a.addr(), time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return withAdmin(a.addr(), func(ctx context.Context, adm *kadm.Client) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		meta, err := adm.BrokerMetadata(ctx)
		if err == nil && len(meta.Brokers) == 0 {
			err = errors.New("no brokers yet")
		}
		return err
	}) == nil
}

func (a *apache) stop() error { return a.end(syscall.SIGTERM) }
func (a *apache) kill() error { return a.end(syscall.SIGKILL) }

func (a *apache) end(signal syscall.Signal) error {
	if err := a.java.Process.Signal(signal); err != nil {
		return fmt.Errorf("signal the broker: %w", err)
	}
	select {
	case <-a.exit:
	case <-time.After(patience):
		a.java.Process.Kill()
		<-a.exit
		return fmt.Errorf("the broker did not stop within %s\n%s", patience, a.logTail())
	}
	fmt.Fprintln(a.watch) // its pid can be another process from now on
	return nil
}

func (a *apache) logFile() string { return filepath.Join(a.dir, "broker.log") }

func (a *apache) logTail() []byte {
	log, err := os.ReadFile(a.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	lines := bytes.Split(log, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-40):], []byte("\n"))
}

// freePorts are ports that nobody listened on a moment ago, all different.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
