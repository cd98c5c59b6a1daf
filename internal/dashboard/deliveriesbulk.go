package dashboard

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// bulkDeliveries replays or cancels the deliveries that are ticked in the list. Each
// is done by itself, as from its own page: one that cannot be leaves the others be,
// and is counted. A store that does not answer ends it; what was done is done.
func (d *dashboard) bulkDeliveries(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return cybervault.Invalid("form", "the form cannot be read: go back and tick the deliveries again")
	}
	back := localPath(r.PostForm.Get("back"))
	chosen := r.PostForm["id"]
	if len(chosen) > cybervault.DefaultPageSize {
		return cybervault.Invalid("id", "%d deliveries are ticked, more than the %d of a page", len(chosen), cybervault.DefaultPageSize)
	}
	do := d.replayOne
	action := r.PostForm.Get("action")
	switch action {
	case "replay":
	case "cancel":
		do = d.cancelOne
	default:
		return cybervault.Invalid("action", "use one of the two buttons: replay or cancel")
	}
	var done, left int
	for _, text := range chosen {
		id, err := cybervault.ParseID[cybervault.DeliveryID](text)
		if err == nil {
			err = do(r, id)
		}
		switch cybervault.ErrorCode(err) {
		case "":
			done++
		case cybervault.CodeConflict, cybervault.CodeInvalid, cybervault.CodeNotFound:
			left++
		default:
			return err
		}
	}
	query := url.Values{"did": {action}, "done": {strconv.Itoa(done)}, "left": {strconv.Itoa(left)}}
	join := "?"
	if strings.Contains(back, "?") {
		join = "&"
	}
	http.Redirect(w, r, back+join+query.Encode(), http.StatusSeeOther)
	return nil
}

// replayOne leaves alone what is still on its way: it arrives without a second one.
func (d *dashboard) replayOne(r *http.Request, id cybervault.DeliveryID) error {
	dl, err := d.Log.Delivery(r.Context(), workspaceOf(r.Context()), id)
	if err != nil {
		return err
	}
	if !dl.Status.Ended() {
		return cybervault.Errorf(cybervault.CodeConflict, "the delivery is still on its way")
	}
	_, err = d.Replayer.ReplayDelivery(r.Context(), workspaceOf(r.Context()), id)
	return err
}

func (d *dashboard) cancelOne(r *http.Request, id cybervault.DeliveryID) error {
	_, err := d.Replayer.CancelDelivery(r.Context(), workspaceOf(r.Context()), id)
	return err
}

// bulkNotice says what was done with the ticked deliveries. The address carries two
// numbers and no words.
func bulkNotice(q url.Values) string {
	done, err := strconv.ParseUint(q.Get("done"), 10, 16)
	left, err2 := strconv.ParseUint(q.Get("left"), 10, 16)
	if err != nil || err2 != nil {
		return ""
	}
	did, not := "replayed", "could not be: still on its way, or the webhook is deleted or disabled"
	switch q.Get("did") {
	case "replay":
	case "cancel":
		did, not = "cancelled", "had ended already"
	default:
		return ""
	}
	switch {
	case done+left == 0:
		return "No delivery was ticked."
	case left == 0:
		return count(int64(done)) + " " + did + "."
	}
	return count(int64(done)) + " " + did + ", " + count(int64(left)) + " " + not + "."
}
