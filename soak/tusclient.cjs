// Uploads files with tus-js-client, all at a time, and never gives up. Prints a line of JSON for each upload that was made
// ({"path","made"}), for what the client would keep on its disk to go on with it later ({"path","stored"}), and for each file that the
// server has acknowledged ({"path","done","sha256"}). A file that has "previous", what an earlier process had stored, is gone on with.
// Usage: node tusclient.cjs <tus-js-client directory> <endpoint> <API key> <seconds> <files as JSON: [{path,size,seed,chunk,parallel,plain,previous}]>
const [, , library, endpoint, key, seconds, text] = process.argv;
const tus = require(library);

// The same bytes as content in uploadfiles.go.
function content(seed, size) {
  const b = Buffer.alloc(size);
  let x = (Math.imul(seed, 2654435761) + 12345) >>> 0;
  for (let i = 0; i < size; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    b[i] = x >>> 24;
  }
  return b;
}

const why = {}; // the last error of each file
setTimeout(() => {
  console.error("too slow; the last errors:", JSON.stringify(why));
  process.exit(1);
}, seconds * 1000).unref();

const say = (o) => process.stdout.write(`${JSON.stringify(o)}\n`);

// The client's memory for later: what is added is told, and found again by the process after this one.
function storage(f) {
  return {
    findAllUploads: async () => (f.previous ? [f.previous] : []),
    findUploadsByFingerprint: async () => (f.previous ? [f.previous] : []),
    removeUpload: async () => say({ path: f.path, stored: null }),
    addUpload: async (_, upload) => {
      const urlStorageKey = `${f.path}#${f.seed}`;
      say({ path: f.path, stored: { ...upload, urlStorageKey } });
      return urlStorageKey;
    },
  };
}

async function send(f) {
  const body = content(f.seed, f.size);
  let last = null;
  let told = "";
  const upload = new tus.Upload(body, {
    endpoint,
    headers: { Authorization: `Bearer ${key}` },
    metadata: { site: "www", path: f.path },
    chunkSize: f.chunk || Number.POSITIVE_INFINITY,
    parallelUploads: f.parallel || 1,
    uploadDataDuringCreation: !f.plain && body.length <= 1 << 20,
    retryDelays: Array(5000).fill(200),
    fingerprint: async () => `${f.path}#${f.seed}`,
    urlStorage: storage(f),
    removeFingerprintOnSuccess: true,
    onShouldRetry: (err) => {
      why[f.path] = String(err);
      const status = err.originalResponse ? err.originalResponse.getStatus() : 0;
      return status === 0 || status === 400 || status === 408 || status === 409 || status === 410 || status === 423 || status === 429 || status >= 500;
    },
    onAfterResponse: (_, res) => {
      last = res;
      if (upload.url && upload.url !== told) {
        told = upload.url;
        say({ path: f.path, made: told });
      }
    },
    onError: (err) => {
      if (!err.originalRequest) {
        // The library does not repeat the concatenation of parallel parts when the connection breaks; who uses it does.
        why[f.path] = String(err);
        setTimeout(() => upload.start(), 100);
        return;
      }
      console.error(f.path, String(err));
      process.exit(1);
    },
    onSuccess: () => say({ path: f.path, done: true, sha256: last.getHeader("Perigee-SHA256") }),
  });
  const [previous] = await upload.findPreviousUploads();
  if (previous) {
    upload.resumeFromPreviousUpload(previous);
  }
  upload.start();
}

for (const f of JSON.parse(text)) {
  send(f);
}
