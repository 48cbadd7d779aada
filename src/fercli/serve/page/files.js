// Pictures that come from outside the page: picked, dropped or pasted, folders among them.

const IMAGE = /\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|avif|hei[cf]|pgm|ppm|pnm|pbm|tga|ico|jp2)$/i;
const VIDEO = /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ogv|3gp)$/i;

/** Return whether a file is to be sampled frame by frame. */
export function isVideo(file) {
  return file.type.startsWith("video/") || (!file.type && VIDEO.test(file.name));
}

/** Return whether a file is still there and as it was picked. */
export async function isReadable(file) {
  try {
    const { byteLength } = await file.slice(0, 1).arrayBuffer();
    // Chromium takes a file that is gone for an empty one until all of it is asked for.
    if (!byteLength) await file.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Return the files of a picked folder that may be pictures, and how many others there were. */
export function listFolder(files) {
  return sift([...files].map((file) => ({ file, name: file.webkitRelativePath || file.name })));
}

/** Return what was picked one by one: all of it, since somebody meant it. */
export function listFiles(files) {
  return { found: [...files].map((file) => ({ file, name: file.name })), nOther: 0 };
}

/** Return the files of a drop; of folders, all that may be pictures. */
export async function listDropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  // Entries are gone after the first await.
  const roots = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  let nOther = 0;
  for (const root of roots) {
    if (root instanceof File) {
      found.push({ file: root, name: root.name });
    } else if (root?.isFile) {
      const file = await toFile(root);
      found.push({ file, name: file.name });
    } else if (root) {
      const sifted = sift(await walk(root, root.name));
      found.push(...sifted.found);
      nOther += sifted.nOther;
    }
  }
  return { found, nOther };
}

function sift(all) {
  const visible = all.filter(({ name }) => !name.split("/").some((part) => part.startsWith(".")));
  const found = visible
    .filter(({ file }) => /^(image|video)\//.test(file.type) || IMAGE.test(file.name) || VIDEO.test(file.name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { found, nOther: visible.length - found.length };
}

async function walk(folder, path) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    // Browsers give a hundred at a time.
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return all;
    for (const entry of some) {
      const name = `${path}/${entry.name}`;
      if (entry.isFile) all.push({ file: await toFile(entry), name });
      else all.push(...await walk(entry, name));
    }
  }
}

function toFile(entry) {
  return new Promise((resolve, reject) => { entry.file(resolve, reject); });
}
