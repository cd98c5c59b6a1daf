package deliver

import (
	"sync"
	"sync/atomic"

	"github.com/cybervault/cybervault"
)

// awaited holds those who wait for a delivery's next attempt. Hardly anyone
// ever does, so asking costs one atomic load.
type awaited struct {
	count   atomic.Int64
	mu      sync.Mutex
	waiting map[cybervault.DeliveryID]chan *cybervault.Attempt
}

func (w *awaited) add(id cybervault.DeliveryID) (<-chan *cybervault.Attempt, func()) {
	ch := make(chan *cybervault.Attempt, 1)
	w.mu.Lock()
	w.waiting[id] = ch
	w.mu.Unlock()
	w.count.Add(1)
	return ch, sync.OnceFunc(func() {
		w.count.Add(-1)
		w.mu.Lock()
		if w.waiting[id] == ch {
			delete(w.waiting, id)
		}
		w.mu.Unlock()
	})
}

func (w *awaited) tell(a *cybervault.Attempt) {
	if w.count.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ch := w.waiting[a.Delivery]; ch != nil {
		delete(w.waiting, a.Delivery)
		ch <- a
	}
}
