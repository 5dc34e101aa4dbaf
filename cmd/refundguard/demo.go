package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/refundguard/refundguard/cmd/refundguard/demo"
	"github.com/refundguard/refundguard/deploy"
	"github.com/refundguard/refundguard/rules/starter"
	"github.com/refundguard/refundguard/sinks/webhook"
)

func newDemoCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Runs all of it on this machine: Kafka, ClickHouse, the service, and a shop's year",
		Long: `Starts an embedded Kafka, an embedded ClickHouse, the service with the starter
rules and a receiver of its alerts, all on the loopback interface, and plays a
shop's year through them, with frauds mixed in. Nothing is left running.

The rules are written into the demo's folder: edit them while it runs. Ctrl-C
ends it. At the end it reads all topics once more, checks that every refund had
exactly one outcome and that every approved one came out byte for byte, once,
and exits with 1 if not.

Three programs work beside the service, and speak through the topics only:
  ledger     pays what is approved. Of 1,000 payments, six each are late beyond
             the ETA, never made, made twice, of another amount, failed, and
             followed by one of a refund that nobody asked for; and it pays 60
             of 1,000 held refunds and 100 of 1,000 rejected ones.
  analyst    two of them work the queue by deadline: of 100, six are escalated
             first, 15 rejected as fraud, the rest approved, above 250 USD by
             both; 80 of 1,000 are forgotten until their deadline has passed.
  customers  confirm 70 % of what was paid and deny 1 %, and 80 of 1,000 held
             refunds; some complain.
What befalls a refund is a function of its id and the seed. --without leaves
programs out, and one whose records --data brings stays away. Each thing that
goes wrong must raise one alert, and nothing else any: that is checked, too.

The shop's year passes fast, but deadlines and ETAs are of this machine's time.
So the demo's are short: 8 to 12 s, instead of hours and days. Everything that
is late is found by then, so that --once takes at least that long.

Where a prometheus binary is on PATH it runs beside the demo, scrapes the service,
and has the alert rules; its address is printed.

The first start fetches ClickHouse's engine with npm, unless a clickhouse binary
is on PATH; after that no network is needed.`,
		Example: `  refundguard demo                      # a day of the shop in each second
  refundguard demo --speed 7d/s --dir demo
  refundguard demo --once -o json       # all of it as fast as possible, one JSON summary
  refundguard demo --once --without ledger,analyst,customers
  refundguard gen --out year && refundguard demo --data year --once`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	o := demo.Options{Speed: 86400, Starter: starter.FS, AlertRules: deploy.AlertRules, NewService: demoService}
	cfg := shopFlags(f, 0.002)
	f.StringVar(&o.Data, "data", "", "folder with transactions.jsonl and refunds.jsonl (and other streams) to play")
	f.Var(&o.Speed, "speed", "how fast the shop's time passes: 1d/s, 12h/s, 5000x, max")
	f.StringSliceVar(&o.Without, "without", nil, "programs that stay away: "+strings.Join(demo.Programs(), ", "))
	f.BoolVar(&o.Once, "once", false, "play everything as fast as possible, and end")
	f.StringVar(&o.Dir, "dir", "", "folder for everything written (default: refundguard-demo here; with --once a temporary one)")
	f.StringVar(&o.Rules, "rules", "", "folder of rules (default: the starter rules, written into the demo's folder)")
	f.StringVar(&o.Kafka, "kafka", "", "address for Kafka to listen at, e.g. 127.0.0.1:9092 (default: a free port)")
	f.StringVar(&o.HTTP, "http", "", "address for the service's metrics, e.g. 127.0.0.1:8080 (default: a free port)")
	f.BoolVar(&o.Verbose, "verbose", false, "the service's whole log, here")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := checkOutput(*output)
		if err != nil {
			return err
		}
		o.JSON = *output == "json"
		if err := demo.CheckPrograms(o.Without); err != nil {
			return usage{fmt.Errorf("--without: %w", err)}
		}
		if o.Shop, err = cfg(); err != nil {
			return err
		}
		if o.Data != "" {
			for _, name := range []string{"seed", "customers", "days", "transactions", "attacks", "end", "bad"} {
				if f.Changed(name) {
					return usage{errors.New("--" + name + " is of the generated shop: leave it out with --data")}
				}
			}
		}
		if o.Dir == "" && !o.Once {
			o.Dir = "refundguard-demo"
		}
		o.Out, o.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if file, ok := o.Err.(*os.File); ok {
			o.Terminal = term.IsTerminal(int(file.Fd()))
		}
		err = demo.Run(cmd.Context(), o)
		if errors.Is(err, demo.ErrNotOK) {
			return errReported
		}
		return err
	}
	return cmd
}

// demoService is the service as run makes it, with what the demo has started.
func demoService(e demo.Endpoints, log *slog.Logger) (demo.Service, error) {
	c := defaultConfig()
	c.Kafka.SeedBrokers = e.Kafka
	c.Pipeline.Rules.Dir = e.Rules
	c.Pipeline.State.Dir = e.State
	c.Pipeline.Currency.Rates = e.Rates
	refunds := c.Pipeline.Streams["refunds"]
	refunds.DecideFrom = "earliest"
	c.Pipeline.Streams["refunds"] = refunds
	c.Pipeline.Alerts.MinSeverity = "high"
	if e.ETA != nil {
		c.Pipeline.ETA = e.ETA
	}
	if e.SLA != nil {
		c.Pipeline.Review.SLA, c.Pipeline.Review.SecondAbove = e.SLA, e.SecondAbove
	}
	c.ClickHouse.Addr = []string{e.ClickHouse}
	c.ClickHouse.Username, c.ClickHouse.Password = e.Username, e.Password
	c.HTTP.Listen = e.HTTP
	hook := webhook.DefaultEndpoint()
	hook.Name, hook.URL, hook.Secret = "demo", e.Webhook, e.WebhookSecret
	hook.AllowPrivate = []string{"true"}
	c.Webhooks = webhook.Config{hook}
	return newService(c, log)
}
