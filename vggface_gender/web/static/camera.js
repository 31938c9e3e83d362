// A photo from the camera, where the browser has one to give.

const part = (id) => document.getElementById(id);

// Offer the camera; `use` is given the photo as a file.
export function offerCamera(use) {
  if (!navigator.mediaDevices?.getUserMedia) return; // none, or the page came without TLS
  const dialog = part("camera");
  const video = part("video");
  const shoot = part("shoot");
  const status = part("camera-status");
  let stream = null;

  part("take").hidden = false;
  part("take").addEventListener("click", async () => {
    shoot.disabled = true;
    status.textContent = "Waiting for the camera.";
    dialog.showModal();
    try {
      const found = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } });
      if (!dialog.open) return stop(found); // closed while it was asked for
      stream = found;
      video.srcObject = stream;
      await video.play();
      status.textContent = "";
      shoot.disabled = false;
      shoot.focus();
    } catch (fault) {
      status.textContent = fault.name === "NotAllowedError"
        ? "The browser may not use the camera: allow it in the page's settings."
        : "No camera can be used here. Choose a photo instead.";
    }
  });
  shoot.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      dialog.close();
      if (blob) use(new File([blob], "camera.jpg", { type: "image/jpeg" }));
    }, "image/jpeg", 0.95);
  });
  part("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stop(stream);
    stream = null;
    video.srcObject = null;
  });
}

function stop(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
