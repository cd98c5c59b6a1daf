package audit

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cybervault/cybervault"
)

// maxActionLine bounds a line of an exported log of who did what.
const maxActionLine = 4 << 20

// Actions is what a check of the log of who did what has found to be whole.
type Actions struct {
	Head     cybervault.ActionHead
	Withheld int64 // lines of other workspaces, of which only the hashes are told
}

// ParseActionHead reads a head as it is printed: NUMBER:HASH.
func ParseActionHead(s string) (cybervault.ActionHead, error) {
	number, hash, _ := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if raw, bad := hex.DecodeString(hash); err != nil || n < 1 || bad != nil || len(raw) != 32 {
		return cybervault.ActionHead{}, cybervault.Invalid("head", "%q is none: give the number of the last line, a colon and its hash, as they were printed", clip(s))
	}
	return cybervault.ActionHead{Number: n, Hash: strings.ToLower(hash)}, nil
}

func clip(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}

// VerifyActions checks an exported log of who did what, line by line: each has its
// number, follows the one before, and is what its hash says; the last is the end that
// the store knows. What it cannot see is a store of which everything from some line on,
// and its end, was written anew: a head that was kept shows that. kept may be nil.
//
// Its errors say which line is wrong, and how.
func VerifyActions(export io.Reader, kept *cybervault.ActionHead) (*Actions, error) {
	found := &Actions{Head: cybervault.ActionHead{Hash: strings.Repeat("0", 64)}}
	lines := bufio.NewScanner(export)
	lines.Buffer(nil, maxActionLine)
	ended := false
	for lines.Scan() {
		if ended {
			return nil, errors.New("the export goes on after its end: it was put together from several")
		}
		var line struct {
			cybervault.ActionLine

			Head *cybervault.ActionHead `json:"head"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("what follows line %d cannot be read: %w", found.Head.Number, err)
		}
		if line.Head != nil {
			if err := found.end(*line.Head); err != nil {
				return nil, err
			}
			ended = true
			continue
		}
		if err := found.add(&line.ActionLine); err != nil {
			return nil, err
		}
		if kept != nil && kept.Number == found.Head.Number && kept.Hash != found.Head.Hash {
			return nil, fmt.Errorf("line %d is not the one that was kept: the log was written anew from somewhere before it", kept.Number)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	switch {
	case !ended:
		return nil, errors.New("the export has no end: it broke off, fetch it again")
	case kept != nil && kept.Number > found.Head.Number:
		return nil, fmt.Errorf("the log ends with line %d, before line %d that was kept: lines were removed from its end, or an older database was restored", found.Head.Number, kept.Number)
	}
	return found, nil
}

func (a *Actions) add(l *cybervault.ActionLine) error {
	switch want := a.Head.Number + 1; {
	case l.Number > want && l.Number == want+1:
		return fmt.Errorf("line %d is missing", want)
	case l.Number > want:
		return fmt.Errorf("lines %d to %d are missing", want, l.Number-1)
	case l.Number < want:
		return fmt.Errorf("line %d stands after line %d", l.Number, a.Head.Number)
	}
	if l.Previous != a.Head.Hash {
		return fmt.Errorf("line %d does not follow line %d as it is now: one of them was changed", l.Number, a.Head.Number)
	}
	if l.Withheld {
		a.Withheld++
	} else if digest := l.Digest(); hex.EncodeToString(digest[:]) != l.Hash {
		return fmt.Errorf("line %d was changed: its hash is not that of what it says", l.Number)
	}
	a.Head = cybervault.ActionHead{Number: l.Number, Hash: l.Hash}
	return nil
}

func (a *Actions) end(head cybervault.ActionHead) error {
	switch {
	case head.Number > a.Head.Number:
		return fmt.Errorf("lines %d to %d are missing: the store has written them", a.Head.Number+1, head.Number)
	case head != a.Head:
		return fmt.Errorf("line %d is not the one that the store wrote last: lines were changed, or added behind its back", a.Head.Number)
	}
	return nil
}
