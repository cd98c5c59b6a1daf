package dashboard

import (
	"fmt"
	"image/color"
	"strconv"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quiet is the margin of a QR code, in modules (ISO/IEC 18004, section 9.1).
const quietZone = 4

// qrPath draws a text as a QR code: the path of an SVG of so many modules a side.
func qrPath(text string) (path string, size int, err error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", 0, fmt.Errorf("dashboard: make a QR code: %w", err)
	}
	var b strings.Builder
	bounds := code.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; {
			run := 0
			for x+run < bounds.Max.X && code.At(x+run, y) == color.Black {
				run++
			}
			if run > 0 {
				b.WriteString("M" + strconv.Itoa(x+quietZone) + " " + strconv.Itoa(y+quietZone) + "h" + strconv.Itoa(run) + "v1h-" + strconv.Itoa(run) + "z")
			}
			x += max(run, 1)
		}
	}
	return b.String(), bounds.Dx() + 2*quietZone, nil
}
