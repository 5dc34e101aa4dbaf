package shop

// queue holds what is to happen later, earliest first. Things of one time come
// in the order in which they were put in. It is a binary heap of values: the
// container/heap package would allocate each.
type queue struct {
	items []pending
	seq   uint64
}

func (q *queue) push(p pending) {
	q.seq++
	p.seq = q.seq
	q.items = append(q.items, p)
	for i := len(q.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.items[i].before(&q.items[up]) {
			break
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

func (q *queue) pop() pending {
	top := q.items[0]
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items[last] = pending{} // lets go of its bytes
	q.items = q.items[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			break
		}
		if r := down + 1; r < last && q.items[r].before(&q.items[down]) {
			down = r
		}
		if !q.items[down].before(&q.items[i]) {
			break
		}
		q.items[i], q.items[down] = q.items[down], q.items[i]
		i = down
	}
	return top
}

func (p *pending) before(o *pending) bool {
	return p.at < o.at || p.at == o.at && p.seq < o.seq
}
