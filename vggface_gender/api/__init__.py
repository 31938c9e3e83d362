"""What `import vggface_gender` offers: photos in, answers out."""
