// A function in Go on aws-lambda-go, as it would be on AWS Lambda.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
)

type order struct {
	Item  string  `json:"item"`
	Count int     `json:"count"`
	Price float64 `json:"price"`
}

func handle(_ context.Context, o order) (string, error) {
	if o.Count < 1 {
		return "", fmt.Errorf("count must be at least 1, not %d", o.Count)
	}
	return fmt.Sprintf("%d × %s: %.2f", o.Count, o.Item, float64(o.Count)*o.Price), nil
}

func main() {
	lambda.Start(handle)
}
