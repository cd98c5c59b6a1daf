package powerloss

import (
	"fmt"
	"path/filepath"
	"sync"
	"unsafe" //nolint:depguard // SQLite's memory is not Go's

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// kind is what an operation does.
type kind int

const (
	create kind = iota
	remove
	write
	truncate
	sync_   // of a file
	syncDir // of the directory that holds them all
)

// operation is one thing that SQLite has had the operating system do.
type operation struct {
	kind kind
	file string // base name
	at   int64  // where a write begins; the length that a truncation leaves
	data []byte
}

// A recorder keeps what is done to the files of one directory.
type recorder struct {
	dir string

	mu    sync.Mutex // held while the operating system does it: the record is in its order
	ops   []operation
	files map[string]bool // those that exist
}

// now returns how many operations have been done.
func (r *recorder) now() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

func (r *recorder) holds(path string) bool { return r != nil && filepath.Dir(path) == r.dir }

// SQLite calls functions, not closures, and has one list of VFSes a process.
var (
	hookOnce sync.Once
	errHook  error

	unixOpen, unixDelete, unixOpenDirectory uintptr
	hookTLS                                 *libc.TLS

	hookMu    sync.Mutex
	watched   *recorder
	open      = map[uintptr]*file{}   // by SQLite's file
	originals = map[uintptr]uintptr{} // method table -> ours
)

// file is an open file that is watched.
type file struct {
	name    string
	to      *recorder
	methods *sqlite3.Tsqlite3_io_methods // SQLite's own
}

// watch has everything recorded that SQLite does in a directory, from now on.
func watch(dir string) (*recorder, error) {
	hookOnce.Do(func() { errHook = hook() })
	if errHook != nil {
		return nil, errHook
	}
	hookMu.Lock()
	defer hookMu.Unlock()
	watched = &recorder{dir: dir, files: map[string]bool{}}
	return watched, nil
}

func recording() *recorder {
	hookMu.Lock()
	defer hookMu.Unlock()
	return watched
}

// hook puts itself between SQLite and its VFS for Unix: a copy of that, with the
// functions replaced that change files, becomes the default.
func hook() error {
	hookTLS = libc.NewTLS()
	unix := sqlite3.Xsqlite3_vfs_find(hookTLS, 0)
	size := unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})
	ours := libc.Xmalloc(hookTLS, libc.Tsize_t(size))
	name, err := libc.CString("watched")
	if err != nil || unix == 0 || ours == 0 {
		return fmt.Errorf("make a VFS: %w", err)
	}
	vfs, base := (*sqlite3.Tsqlite3_vfs)(at(ours)), (*sqlite3.Tsqlite3_vfs)(at(unix))
	*vfs = *base
	vfs.FpNext, vfs.FzName = 0, name
	unixOpen, unixDelete = base.FxOpen, base.FxDelete
	vfs.FxOpen, vfs.FxDelete = pointer(xOpen), pointer(xDelete)
	call, err := libc.CString("openDirectory")
	if err != nil {
		return err
	}
	get := *(*func(*libc.TLS, uintptr, uintptr) uintptr)(function(&base.FxGetSystemCall))
	set := *(*func(*libc.TLS, uintptr, uintptr, uintptr) int32)(function(&base.FxSetSystemCall))
	unixOpenDirectory = get(hookTLS, unix, call)
	if code := set(hookTLS, unix, call, pointer(xOpenDirectory)); code != sqlite3.SQLITE_OK {
		return fmt.Errorf("watch directories: %d", code)
	}
	if code := sqlite3.Xsqlite3_vfs_register(hookTLS, ours, 1); code != sqlite3.SQLITE_OK {
		return fmt.Errorf("register a VFS: %d", code)
	}
	return nil
}

// at points to memory that SQLite knows by its address.
func at(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// function makes a function of SQLite's callable: what holds its address is to be
// taken for a variable of its type.
func function(address *uintptr) unsafe.Pointer { return unsafe.Pointer(address) }

// pointer is the address by which SQLite calls a function of ours.
func pointer(f any) uintptr {
	type face struct{ kind, data uintptr }
	return (*face)(unsafe.Pointer(&f)).data
}

func xOpen(tls *libc.TLS, vfs, path, handle uintptr, flags int32, outFlags uintptr) int32 {
	original := *(*func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32)(function(&unixOpen))
	r := recording()
	if path == 0 || !r.holds(libc.GoString(path)) {
		return original(tls, vfs, path, handle, flags, outFlags)
	}
	name := filepath.Base(libc.GoString(path))
	r.mu.Lock()
	code := original(tls, vfs, path, handle, flags, outFlags)
	if code == sqlite3.SQLITE_OK && !r.files[name] {
		r.files[name] = true
		r.ops = append(r.ops, operation{kind: create, file: name})
	}
	r.mu.Unlock()
	methods := (*sqlite3.Tsqlite3_file)(at(handle))
	if methods.FpMethods == 0 {
		return code
	}
	hookMu.Lock()
	defer hookMu.Unlock()
	own := (*sqlite3.Tsqlite3_io_methods)(at(methods.FpMethods))
	open[handle] = &file{name: name, to: r, methods: own}
	table := originals[methods.FpMethods]
	if table == 0 {
		table = libc.Xmalloc(hookTLS, libc.Tsize_t(unsafe.Sizeof(*own)))
		ours := (*sqlite3.Tsqlite3_io_methods)(at(table))
		*ours = *own
		ours.FxWrite, ours.FxTruncate, ours.FxSync, ours.FxClose = pointer(xWrite), pointer(xTruncate), pointer(xSync), pointer(xClose)
		originals[methods.FpMethods] = table
	}
	methods.FpMethods = table
	return code
}

func opened(handle uintptr) *file {
	hookMu.Lock()
	defer hookMu.Unlock()
	return open[handle]
}

// do has the operating system do something, and notes it if it did.
func (f *file) do(op operation, original func() int32) int32 {
	f.to.mu.Lock()
	defer f.to.mu.Unlock()
	code := original()
	if code == sqlite3.SQLITE_OK {
		op.file = f.name
		f.to.ops = append(f.to.ops, op)
	}
	return code
}

func xWrite(tls *libc.TLS, handle, buffer uintptr, amount int32, offset int64) int32 {
	f := opened(handle)
	original := *(*func(*libc.TLS, uintptr, uintptr, int32, int64) int32)(function(&f.methods.FxWrite))
	data := append([]byte(nil), unsafe.Slice((*byte)(at(buffer)), amount)...)
	return f.do(operation{kind: write, at: offset, data: data}, func() int32 { return original(tls, handle, buffer, amount, offset) })
}

func xTruncate(tls *libc.TLS, handle uintptr, size int64) int32 {
	f := opened(handle)
	original := *(*func(*libc.TLS, uintptr, int64) int32)(function(&f.methods.FxTruncate))
	return f.do(operation{kind: truncate, at: size}, func() int32 { return original(tls, handle, size) })
}

func xSync(tls *libc.TLS, handle uintptr, flags int32) int32 {
	f := opened(handle)
	original := *(*func(*libc.TLS, uintptr, int32) int32)(function(&f.methods.FxSync))
	return f.do(operation{kind: sync_}, func() int32 { return original(tls, handle, flags) })
}

func xClose(tls *libc.TLS, handle uintptr) int32 {
	f := opened(handle)
	hookMu.Lock()
	delete(open, handle)
	hookMu.Unlock()
	original := *(*func(*libc.TLS, uintptr) int32)(function(&f.methods.FxClose))
	return original(tls, handle)
}

func xDelete(tls *libc.TLS, vfs, path uintptr, dirSync int32) int32 {
	original := *(*func(*libc.TLS, uintptr, uintptr, int32) int32)(function(&unixDelete))
	r := recording()
	if !r.holds(libc.GoString(path)) {
		return original(tls, vfs, path, dirSync)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := filepath.Base(libc.GoString(path))
	before := len(r.ops)
	code := original(tls, vfs, path, dirSync)
	if code == sqlite3.SQLITE_OK && r.files[name] {
		delete(r.files, name)
		// The directory is synced after it.
		r.ops = append(r.ops[:before:before], append([]operation{{kind: remove, file: name}}, r.ops[before:]...)...)
	}
	return code
}

// xOpenDirectory is called to sync a directory, and for nothing else, by xSync
// and xDelete, which hold the recorder's lock.
func xOpenDirectory(tls *libc.TLS, path, descriptor uintptr) int32 {
	original := *(*func(*libc.TLS, uintptr, uintptr) int32)(function(&unixOpenDirectory))
	code := original(tls, path, descriptor)
	if r := recording(); code == sqlite3.SQLITE_OK && r.holds(libc.GoString(path)) {
		r.ops = append(r.ops, operation{kind: syncDir})
	}
	return code
}
