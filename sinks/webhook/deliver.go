package webhook

import (
	"context"
	"fmt"
	"time"
)

// Deliver sends a record of alerts to one endpoint once, as the sink would;
// recorded is its Kafka timestamp. The endpoint must have been validated.
func Deliver(ctx context.Context, e Endpoint, value []byte, recorded time.Time) error {
	e = e.withDefaults()
	p, err := newPoster(e, nil)
	if err != nil {
		return fmt.Errorf("building webhook %s: %w", e.Name, err)
	}
	defer p.client.CloseIdleConnections()
	a, err := newAlert(value, recorded, formats[e.Format])
	if err != nil {
		return err
	}
	if failure := p.post(ctx, a); failure != nil {
		return failure
	}
	return nil
}
