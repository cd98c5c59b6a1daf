package dashboard

import "github.com/cybervault/cybervault"

// RouteOf is a route, for the test that walks them all.
type RouteOf struct {
	Pattern    string
	Permission cybervault.Permission
}

// Routes lists what the dashboard serves.
func Routes() []RouteOf {
	var all []RouteOf
	for _, rt := range new(dashboard).routes() {
		all = append(all, RouteOf{rt.pattern, rt.permission})
	}
	return all
}
