// tus-js-client, one upload of FILE as TARGET: begun at ENDPOINT, or gone on with at UPLOAD. With SILENT_AFTER it sends so many bytes,
// and then nothing more. Writes a line with the upload's address, one with each offset that the server tells, and one at the end.
const { createReadStream, readFileSync, statSync } = require("fs")
const { Readable } = require("stream")
const { Upload, DefaultHttpStack } = require("tus-js-client")

const { ENDPOINT, UPLOAD, FILE, TARGET, NAME, PASSWORD, CHUNK, SILENT_AFTER, OVERRIDE, EAGER } = process.env

function say(...words) {
    process.stdout.write(`${words.join(" ")}\n`)
}

// A sender that loses its line in the middle.
const silent = {
    async openFile() {
        return {
            size: statSync(FILE).size,
            async slice(start, end) {
                const value = new Readable({ read() {} })
                value.push(readFileSync(FILE).subarray(start, Number(SILENT_AFTER)))
                value.size = end - start
                return { value, done: false }
            },
            close() {},
        }
    },
}

const upload = new Upload(createReadStream(FILE), {
    endpoint: ENDPOINT,
    uploadUrl: UPLOAD || null,
    metadata: { path: TARGET },
    headers: { Authorization: `Basic ${Buffer.from(`${NAME}:${PASSWORD}`).toString("base64")}` },
    httpStack: new DefaultHttpStack({ rejectUnauthorized: false }),
    chunkSize: CHUNK ? Number(CHUNK) : Infinity,
    retryDelays: SILENT_AFTER ? [] : [0, 500, 1000, 2000, 4000],
    overridePatchMethod: Boolean(OVERRIDE),
    uploadDataDuringCreation: Boolean(EAGER),
    ...(SILENT_AFTER ? { fileReader: silent } : {}),
    onUploadUrlAvailable: () => say("url", upload.url),
    onAfterResponse(request, response) {
        if (response.getHeader("Upload-Offset")) say(request.getMethod(), response.getHeader("Upload-Offset"))
    },
    onSuccess: () => say("done"),
    onError(error) {
        console.error(String(error))
        process.exit(1)
    },
})
upload.start()
