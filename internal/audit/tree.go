package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cybervault/cybervault"
)

const (
	tileHeight = 8 // a tile has 2^8 hashes
	tileSize   = cybervault.AuditTileSize
)

// Tree is a Merkle tree (RFC 6962, section 2.1) to append to. It holds the last
// tile of each level, as far as that is filled: enough to go on, and to know the
// root. The zero value is the empty tree.
type Tree struct {
	size  int64
	tails [][]tlog.Hash // by level; of whole tiles below only
}

// Size is how many leaves it has.
func (t *Tree) Size() int64 { return t.size }

// Append adds a leaf by its hash. full is called for each tile that this fills.
func (t *Tree) Append(leaf tlog.Hash, full func(level int, index int64, hashes []tlog.Hash)) {
	t.size++
	count := t.size // of hashes at the level
	for level, hash := 0, leaf; ; level++ {
		if level == len(t.tails) {
			t.tails = append(t.tails, nil)
		}
		t.tails[level] = append(t.tails[level], hash)
		if len(t.tails[level]) < tileSize {
			return
		}
		if full != nil {
			full(level, count/tileSize-1, t.tails[level])
		}
		count /= tileSize
		hash = perfect(t.tails[level])
		t.tails[level] = t.tails[level][:0]
	}
}

// perfect is the hash of the tree over a power of two of hashes.
func perfect(hashes []tlog.Hash) tlog.Hash {
	if len(hashes) == 1 {
		return hashes[0]
	}
	half := len(hashes) / 2
	return tlog.NodeHash(perfect(hashes[:half]), perfect(hashes[half:]))
}

// Root is the hash of the whole tree.
func (t *Tree) Root() tlog.Hash {
	var root tlog.Hash
	empty := true
	for _, tail := range t.tails { // the smallest subtrees are at the right end
		for end := len(tail); end > 0; {
			n := end & -end
			hash := perfect(tail[end-n : end])
			if empty {
				root, empty = hash, false
			} else {
				root = tlog.NodeHash(hash, root)
			}
			end -= n
		}
	}
	if empty {
		return sha256.Sum256(nil)
	}
	return root
}

// open tells the tiles that are not full.
func (t *Tree) open(tile func(level int, index int64, hashes []tlog.Hash)) {
	count := t.size
	for level, tail := range t.tails {
		if len(tail) > 0 {
			tile(level, count/tileSize, tail)
		}
		count /= tileSize
	}
}

// clone is a copy that can be appended to for itself.
func (t *Tree) clone() *Tree {
	c := &Tree{size: t.size, tails: make([][]tlog.Hash, len(t.tails))}
	for i := range t.tails {
		c.tails[i] = append(make([]tlog.Hash, 0, tileSize), t.tails[i]...)
	}
	return c
}

// tiles is where the hashes of a tree are kept.
type tiles interface {
	AuditTile(ctx context.Context, level int, index int64) ([]byte, error)
}

// loadTree reads what is needed to go on with a tree of a size. Whether it has
// the right root is for the caller to compare.
func loadTree(ctx context.Context, from tiles, size int64) (*Tree, error) {
	t := &Tree{size: size}
	for level, count := 0, size; count > 0; level, count = level+1, count/tileSize {
		tail := make([]tlog.Hash, 0, tileSize)
		if n := int(count % tileSize); n > 0 {
			hashes, err := readTile(ctx, from, level, count/tileSize, n)
			if err != nil {
				return nil, err
			}
			tail = appendHashes(tail, hashes)
		}
		t.tails = append(t.tails, tail)
	}
	return t, nil
}

// readTile reads the first n hashes of a tile.
func readTile(ctx context.Context, from tiles, level int, index int64, n int) ([]byte, error) {
	b, err := from.AuditTile(ctx, level, index)
	if cybervault.ErrorCode(err) == cybervault.CodeNotFound || err == nil && len(b) < n*tlog.HashSize {
		return nil, broken("the hashes of tile %d at level %d of the audit log are not in the store, or not all of them: they have been removed", index, level)
	}
	if err != nil {
		return nil, err
	}
	return b[:n*tlog.HashSize], nil
}

func appendHashes(to []tlog.Hash, b []byte) []tlog.Hash {
	for part := range slices.Chunk(b, tlog.HashSize) {
		to = append(to, tlog.Hash(part))
	}
	return to
}

func flatten(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for i := range hashes {
		b = append(b, hashes[i][:]...)
	}
	return b
}

// broken says that the audit log in the store is not what was signed.
func broken(format string, args ...any) error {
	return cybervault.Errorf(cybervault.CodeConflict, format, args...)
}

// hashReader reads hashes of a tree from its tiles, and checks each of them
// against the tree's root before it is used.
func hashReader(ctx context.Context, from tiles, tree tlog.Tree) tlog.HashReader {
	inner := tlog.TileHashReader(tree, tileReader{ctx, from})
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes, err := inner.ReadHashes(indexes)
		if cybervault.ErrorCode(err) == cybervault.CodeInternal { // what tlog itself says
			err = broken("the hashes of the audit log in the store do not lead to the root that was signed: they have been changed (%v)", err)
		}
		return hashes, err
	})
}

type tileReader struct {
	ctx  context.Context //nolint:containedctx // lives as long as the call that it serves
	from tiles
}

func (tileReader) Height() int                     { return tileHeight }
func (tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (r tileReader) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(wanted))
	for i, tile := range wanted {
		var err error
		if out[i], err = readTile(r.ctx, r.from, tile.L, tile.N, tile.W); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// TilePath is the number of a tile as tlog-tiles (C2SP) writes it in a path.
func TilePath(index int64) string {
	path := fmt.Sprintf("%03d", index%1000)
	for index >= 1000 {
		index /= 1000
		path = fmt.Sprintf("x%03d/%s", index%1000, path)
	}
	return path
}
