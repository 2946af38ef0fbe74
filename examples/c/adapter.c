// The least that it takes to put another language under test: sigmoid, softmax and cross entropy in
// float32, in plain C without any library. The protocol is spec/protocol.md.
//
//   cc -O2 -o adapter examples/c/adapter.c -lm && lossproof run --adapter ./adapter

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { long shape[16], size; int rank; float *x; } Array;

// What follows "name": in a message. lossproof writes no blanks between the parts of its JSON.
static char *find(char *text, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    char *place = strstr(text, key);
    return place ? place + strlen(key) : "";
}

static Array read_array(char *message, const char *name) {
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    Array a = {.size = 1};
    char *text = find(message, name), *p = find(text, "shape") + 1;
    for (; *p != ']'; p += *p == ',') a.size *= a.shape[a.rank++] = strtol(p, &p, 10);
    char *data = find(text, "data") + 1;
    unsigned bits = 0, count = 0, n = 0;
    a.x = malloc(4 * a.size + 4);
    for (p = data; *p != '"' && *p != '='; p++) {
        bits = bits << 6 | (unsigned)(strchr(digits, *p) - digits);
        if ((count += 6) >= 8) ((unsigned char *)a.x)[n++] = bits >> (count -= 8) & 255;
    }
    return a;
}

static void answer(long id, int rank, const long *shape, const float *x, long size) {
    printf("{\"id\":%ld,\"value\":{\"dtype\":\"float32\",\"shape\":[", id);
    for (int i = 0; i < rank; i++) printf("%s%ld", i ? "," : "", shape[i]);
    printf("],\"data\":[");
    for (long i = 0; i < size; i++) {
        if (i) putchar(',');
        if (isfinite(x[i])) printf("%.8e", x[i]); // nine digits say which float32 it is
        else printf(isnan(x[i]) ? "\"NaN\"" : x[i] > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    }
    printf("]}}\n");
}

static void log_softmax(const float *x, double *y, long n) {
    double largest = -INFINITY, sum = 0;
    for (long i = 0; i < n; i++) if (!(x[i] <= largest)) largest = x[i];
    for (long i = 0; i < n; i++) sum += exp(x[i] - largest);
    for (long i = 0; i < n; i++) y[i] = x[i] - largest - log(sum);
}

static void run(char *message) {
    const char *function = find(message, "function") + 1;
    long id = strtol(find(message, "id"), NULL, 10);
    Array a = read_array(message, "logits");
    long axis = *find(message, "axis") ? strtol(find(message, "axis"), NULL, 10) : -1;
    long classes = a.rank ? a.shape[a.rank - 1] : 1, rows = classes ? a.size / classes : 0;
    double *y = malloc(8 * a.size + 8);
    for (long r = 0; r < rows; r++) log_softmax(a.x + r * classes, y + r * classes, classes);
    if (find(message, "wrt")[1] != ']' || (axis != -1 && axis != a.rank - 1)) {
        printf("{\"id\":%ld,\"unsupported\":\"values only, over the last axis\"}\n", id);
    } else if (!strncmp(function, "sigmoid\"", 8)) {
        for (long i = 0; i < a.size; i++) a.x[i] = 1 / (1 + exp(-(double)a.x[i]));
        answer(id, a.rank, a.shape, a.x, a.size);
    } else if (!strncmp(function, "softmax\"", 8)) {
        for (long i = 0; i < a.size; i++) a.x[i] = exp(y[i]);
        answer(id, a.rank, a.shape, a.x, a.size);
    } else { // softmax_cross_entropy
        Array target = read_array(message, "target");
        double smoothing = strtod(find(message, "label_smoothing"), NULL), total = 0;
        for (long r = 0; r < rows; r++) {
            double loss = 0;
            for (long i = r * classes; i < (r + 1) * classes; i++) {
                double share = (1 - smoothing) * target.x[i] + smoothing / classes;
                if (share != 0 || isnan(y[i])) loss -= share * y[i];
            }
            total += a.x[r] = loss; // a.x is not read any more
        }
        char reduction = find(message, "reduction")[1];
        float value = reduction == 'm' ? total / rows : total;
        answer(id, reduction == 'n' ? a.rank - 1 : 0, a.shape, reduction == 'n' ? a.x : &value,
               reduction == 'n' ? rows : 1);
        free(target.x);
    }
    free(a.x), free(y);
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0 && !strstr(line, "\"command\":\"stop\"")) {
        if (!strstr(line, "\"command\":\"start\"")) run(line);
        else puts("{\"protocol\":1,\"name\":\"c\",\"version\":\"1\",\"encoding\":\"base64\",\"dtypes\":[\"float32\"],"
                  "\"functions\":[\"sigmoid\",\"softmax\",\"softmax_cross_entropy\"]}");
        fflush(stdout);
    }
}
