package clickhouse

import (
	"context"
	"errors"
	"net"
	"sync"

	chgo "github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"
	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// native is the connections that inserts are sent over, with the native
// protocol: one for each of them that is under way.
type native struct {
	options []chgo.Options // by address

	mu    sync.Mutex
	idle  []*chgo.Client
	types map[string]map[string]proto.ColumnType // by table and column
}

// newNative is nil where the protocol is another.
func newNative(opts *ch.Options) *native {
	if opts.Protocol != ch.Native {
		return nil
	}
	n := &native{types: make(map[string]map[string]proto.ColumnType)}
	for _, addr := range opts.Addr {
		compression := chgo.CompressionLZ4
		if host, _, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsLoopback() {
			compression = chgo.CompressionDisabled // the network is memory: packing costs more than it spares
		}
		n.options = append(n.options, chgo.Options{
			Address: addr, Database: opts.Auth.Database, User: opts.Auth.Username, Password: opts.Auth.Password,
			Compression: compression, TLS: opts.TLS,
			DialTimeout: opts.DialTimeout, HandshakeTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout,
		})
	}
	return n
}

// take gives a connection that nobody uses, to the first address that answers.
func (n *native) take(ctx context.Context) (*chgo.Client, error) {
	n.mu.Lock()
	for len(n.idle) > 0 {
		client := n.idle[len(n.idle)-1]
		n.idle = n.idle[:len(n.idle)-1]
		if !client.IsClosed() {
			n.mu.Unlock()
			return client, nil
		}
	}
	n.mu.Unlock()
	var faults []error
	for _, opts := range n.options {
		client, err := chgo.Dial(ctx, opts)
		if err == nil {
			return client, nil
		}
		faults = append(faults, err)
	}
	return nil, errors.Join(faults...)
}

// give takes a connection back, unless it is of no use any more.
func (n *native) give(client *chgo.Client, usable bool) {
	if !usable || client.IsClosed() {
		client.Close()
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.idle = append(n.idle, client)
}

func (n *native) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, client := range n.idle {
		client.Close()
	}
	n.idle = nil
}

// insert sends the query with these columns. After an error the types of the
// table are asked for again: somebody may have changed them.
func (n *native) insert(ctx context.Context, query, table string, settings []chgo.Setting, columns proto.Input) error {
	client, err := n.take(ctx)
	if err != nil {
		return err
	}
	err = client.Do(ctx, chgo.Query{Body: query, Settings: settings, Input: columns})
	// Once the server has said why not, the connection is as it was before.
	said, answered := chgo.AsException(err)
	n.give(client, err == nil || answered)
	if answered { // in the words of the other client
		err = &ch.Exception{Code: int32(said.Code), Name: said.Name, Message: said.Message, StackTrace: said.Stack}
	}
	if err != nil {
		n.mu.Lock()
		delete(n.types, table)
		n.mu.Unlock()
	}
	return err
}

// typesOf are the types of a table's columns, by name.
func (n *native) typesOf(ctx context.Context, in target, table string) (map[string]proto.ColumnType, error) {
	n.mu.Lock()
	types := n.types[table]
	n.mu.Unlock()
	if types != nil {
		return types, nil
	}
	rows, err := in.conn.Query(ctx, "SELECT name, type FROM system.columns WHERE database = ? AND table = ?", in.database, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types = make(map[string]proto.ColumnType)
	for rows.Next() {
		var name, is string
		if err := rows.Scan(&name, &is); err != nil {
			return nil, err
		}
		types[name] = proto.ColumnType(is)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.types[table] = types
	return types, nil
}

// wireColumn is a column of rows on its way.
type wireColumn[T any] struct {
	rows  []T
	as    proto.ColumnType
	write writer[T]
}

func (c *wireColumn[T]) Type() proto.ColumnType { return c.as }
func (c *wireColumn[T]) Rows() int              { return len(c.rows) }

// EncodeState begins a column that has dictionaries.
func (c *wireColumn[T]) EncodeState(b *proto.Buffer) {
	switch c.as {
	case typeWord, typeWords, typeTexts:
		b.PutInt64(sharedDictionaries)
	}
}

func (c *wireColumn[T]) EncodeColumn(b *proto.Buffer) {
	w := wires.Get().(*wire)
	defer wires.Put(w)
	w.buf = b.Buf
	c.write(w, c.rows)
	b.Buf, w.buf = w.buf, nil
}

func (c *wireColumn[T]) WriteColumn(w *proto.Writer) { w.ChainBuffer(c.EncodeColumn) }
