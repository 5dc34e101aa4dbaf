package main

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/spf13/cobra"
)

func newRunCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Runs the service: decides refunds until it is told to stop",
		Long: `Reads refunds and what happens around them from Kafka, decides each refund once,
and passes the approved ones on. SIGTERM or SIGINT ends it within 10 seconds,
with everything committed that was decided; a second signal ends it at once,
and loses nothing either.

With --observe it decides beside a live deployment and pays nothing: topics,
groups, transactional.id and ClickHouse database are its own (each name with
-observe, the database with _observe), refunds-approved is not written, and
webhooks are off.`,
		Example: `  refundguard run -c refundguard.yaml
  refundguard run -c refundguard.yaml --observe
  REFUNDGUARD_KAFKA_SEED_BROKERS=kafka:9092 refundguard run`,
		Args: cobra.NoArgs,
	}
	file, observe := configFlag(cmd), observeFlag(cmd)
	level := cmd.Flags().String("log-level", "", "in place of log.level: debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		l, err := loadConfig(*file, os.Environ())
		if err != nil {
			return err
		}
		if *level != "" {
			l.Log.Level = *level
			l.from.Override("log.level", "--log-level")
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("the configuration is not right:\n%w", err)
		}
		c := l.config
		if *observe {
			c = c.observed()
		}
		log := newLogger(c.Log, os.Stderr)
		limitMemory(log)
		c.boundState(log)
		s, err := newService(c, log)
		if err != nil {
			return err
		}
		return s.Run(cmd.Context())
	}
	return cmd
}

// limitMemory makes the collector work harder near the container's limit,
// instead of being killed there.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithRatio(0.9),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)),
	)
	if err != nil {
		log.Warn("no memory limit is set; set GOMEMLIMIT to be safe", "error", err)
		return
	}
	if limit > 0 {
		log.Debug("memory limit", "bytes", limit)
	}
}

// besidesState is about what else is in memory where there is always more to do:
// records of 16 partitions that are read and not applied, decisions that are
// encoded, and what of a save is not yet written.
const besidesState = 512 << 20

// boundState has the state take 2/5 of the memory that there is beside that,
// where the configuration doesn't say how much: with what the collector needs,
// that is 4/5. Where what is alive comes near the limit, the collector takes half
// of the time, and a service that is behind would not catch up.
func (c *config) boundState(log *slog.Logger) {
	limit := debug.SetMemoryLimit(-1)
	if s := &c.Pipeline.State; s.Memory == 0 && s.Dir != "" && limit != math.MaxInt64 {
		s.Memory = max(limit/10, (limit-besidesState)/5*2)
		log.Info("the state takes what there is of memory, the rest of it stays on disk (state.memory)", "bytes", s.Memory)
	}
}
