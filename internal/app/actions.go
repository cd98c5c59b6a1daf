package app

import (
	"context"

	"github.com/cybervault/cybervault"
	"github.com/cybervault/cybervault/internal/store"
)

// actionPage is how many lines of the log of who did what are read at once.
const actionPage = 500

// actionLog is the log of who did what as the API and the dashboard want it.
type actionLog struct {
	*store.Store

	workspace cybervault.WorkspaceID // the first
}

// ExportActions hands every line of the log to line, oldest first, and returns its
// end. The chain goes through all workspaces: of another one's lines a workspace is
// told the hashes only, unless it is the first, which may make backups of everything.
func (l actionLog) ExportActions(ctx context.Context, ws cybervault.WorkspaceID, line func(cybervault.ActionLine) error) (cybervault.ActionHead, error) {
	head, err := l.ActionHead(ctx) // first: what is done from here on is not part of it
	if err != nil {
		return head, err
	}
	for after := int64(0); after < head.Number; {
		page, err := l.ActionsAfter(ctx, after, actionPage)
		if err != nil {
			return head, err
		}
		for _, a := range page {
			if a.Number > head.Number {
				return head, nil
			}
			one := a.Line()
			if a.Workspace != ws && ws != l.workspace {
				one.Withhold()
			}
			if err := line(one); err != nil {
				return head, err
			}
			after = a.Number
		}
		if len(page) < actionPage {
			break // a log that ends before its end is for the check to find
		}
	}
	return head, nil
}
