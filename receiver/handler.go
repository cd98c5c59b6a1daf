package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// DefaultMaxBodyBytes bounds a request's body; an event has at most 256 KiB of data.
const DefaultMaxBodyBytes = 1 << 20

// Options are the settings of Handler.
type Options struct {
	// Secrets are the webhook's, as they are shown; the old and the new one
	// while a rotation overlaps.
	Secrets []string
	// PublicKeys are those of a webhook whose signature is ed25519, which needs
	// no secrets; see the option of that name.
	PublicKeys []string
	// Verify changes what is asked of a signature.
	Verify []Option
	// MaxBodyBytes bounds the body; zero means DefaultMaxBodyBytes.
	MaxBodyBytes int64
	// Store remembers what was handled, so that a repeated delivery is
	// answered with 200 and not handled again. Nil: every delivery is handled.
	Store Store
	// OnError is told of every request that is not answered with 200, with
	// what the caller is not told. Nil: nobody is. It may be called
	// concurrently.
	OnError func(r *http.Request, err error)
}

// RetryAfter is an error for a Handler's function to return: the delivery is
// answered with 503 and Retry-After, so that CyberVault tries again after that
// time (a second at least, 24 hours at most) instead of by its schedule.
func RetryAfter(d time.Duration, err error) error {
	return &answer{err, http.StatusServiceUnavailable, d}
}

// Gone is an error for a Handler's function to return: the delivery is answered
// with 410, which disables the webhook.
func Gone(err error) error { return &answer{err, http.StatusGone, 0} }

type answer struct {
	err        error
	status     int
	retryAfter time.Duration
}

func (a *answer) Error() string {
	if a.err == nil {
		return http.StatusText(a.status)
	}
	return a.err.Error()
}

func (a *answer) Unwrap() error { return a.err }

// busyRetry is how long to wait for another attempt that is being handled: as
// long as CyberVault waits for an answer.
const busyRetry = 5 * time.Second

// Handler answers deliveries: it reads the body, verifies it, and calls handle
// with the event. handle's nil is answered with 200; an error with 500, so that
// the delivery is tried again, unless it is one of RetryAfter or Gone. What
// cannot be verified is answered with 401, a body over the limit with 413, a
// verified body that is no event with 400, another method than POST with 405.
//
// CyberVault waits 5 seconds for the answer, then handle's context ends: take
// the event into a queue of your own if the work may last longer. handle may be
// called concurrently.
//
// With a Store an event that was handled is answered with 200 and not handled
// again; one whose handling failed, or panicked, is handled again when the next
// attempt comes; one that is being handled at the moment is answered with 503
// and Retry-After.
func Handler(o Options, handle func(ctx context.Context, e Event) error) http.Handler {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = DefaultMaxBodyBytes
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := o.serve(w, r, handle)
		if err == nil {
			w.WriteHeader(http.StatusOK)
			return
		}
		if o.OnError != nil {
			o.OnError(r, err)
		}
		a, ok := errors.AsType[*answer](err)
		if !ok {
			a = &answer{err, http.StatusInternalServerError, 0}
		}
		if a.retryAfter > 0 {
			seconds := max(1, (a.retryAfter+time.Second-1)/time.Second)
			w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		}
		// The reason stays with OnError: a stranger learns nothing from it.
		http.Error(w, http.StatusText(a.status), a.status)
	})
}

func (o *Options) serve(w http.ResponseWriter, r *http.Request, handle func(context.Context, Event) error) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &answer{fmt.Errorf("the method is %s, not POST", r.Method), http.StatusMethodNotAllowed, 0}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, o.MaxBodyBytes))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &answer{fmt.Errorf("the body is longer than %d bytes", o.MaxBodyBytes), http.StatusRequestEntityTooLarge, 0}
		}
		return &answer{fmt.Errorf("the body broke off: %w", err), http.StatusBadRequest, 0}
	}
	if err := Verify(o.Secrets, r.Header, body, append([]Option{PublicKeys(o.PublicKeys...)}, o.Verify...)...); err != nil {
		if errors.Is(err, ErrSecret) { // the receiver's fault, not the sender's
			return err
		}
		return &answer{err, http.StatusUnauthorized, 0}
	}
	event, err := ReadEvent(r.Header, body)
	if err != nil {
		return &answer{err, http.StatusBadRequest, 0}
	}
	if o.Store == nil {
		return handle(r.Context(), event)
	}
	return o.once(r, event, handle)
}

// once calls handle unless the store says that the event was handled.
func (o *Options) once(r *http.Request, event Event, handle func(context.Context, Event) error) error {
	ctx, key := r.Context(), event.Key()
	claim, err := o.Store.Claim(ctx, key)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	switch claim {
	case ClaimHandled:
		return nil
	case ClaimBusy:
		return RetryAfter(busyRetry, fmt.Errorf("%s is being handled at the moment", key))
	case ClaimFresh:
	default:
		return fmt.Errorf("store: answered %v to a claim", claim)
	}
	// The claim must end even if the sender hung up, or handle panics: a claim
	// that stays would make every later attempt wait for nothing.
	settled := context.WithoutCancel(ctx)
	handled := false
	defer func() {
		if !handled {
			if err := o.Store.Release(settled, key); err != nil && o.OnError != nil {
				o.OnError(r, fmt.Errorf("store: %w", err))
			}
		}
	}()
	if err := handle(ctx, event); err != nil {
		return err
	}
	if err := o.Store.Done(settled, key); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	handled = true
	return nil
}
